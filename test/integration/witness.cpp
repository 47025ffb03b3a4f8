#include "test/integration/witness.h"

#include <fmt/core.h>

#include <cstdlib>

#include "api/tree.h"
#include "test/patience.h"

namespace keelson::test {

using namespace std::chrono_literals;

namespace {

const api::Value* parse(std::string_view json, api::Tree& tree) {
  size_t used = 0;
  const auto root = api::read_json(json, tree, 1, used);
  return root ? *root : nullptr;
}

int64_t number(std::string_view text) { return std::atoll(std::string(text).c_str()); }

}  // namespace

Observed observe(const api::Value& object) {
  Observed seen;
  if (const auto* metadata = object.find("metadata")) {
    seen.name = metadata->string("name");
    seen.uid = metadata->string("uid");
    seen.revision = number(metadata->string("resourceVersion"));
    if (const auto* annotations = metadata->find("annotations")) {
      seen.token = annotations->string("token");
      seen.count = number(annotations->string("count"));
    }
  }
  if (const auto* spec = object.find("spec")) {
    seen.cluster_ip = spec->string("clusterIP");
    if (const auto* ports = spec->find("ports")) {
      for (const auto& port : ports->members) {
        const auto* node_port = port.value->find("nodePort");
        if (node_port != nullptr) seen.node_ports.push_back(static_cast<int>(number(node_port->text)));
      }
    }
  }
  return seen;
}

std::optional<Observed> observe_object(std::string_view json) {
  api::Tree tree;
  const auto* object = parse(json, tree);
  if (object == nullptr) return std::nullopt;
  return observe(*object);
}

std::optional<ObservedList> observe_list(std::string_view json) {
  api::Tree tree;
  const auto* list = parse(json, tree);
  const auto* items = list == nullptr ? nullptr : list->find("items");
  if (items == nullptr) return std::nullopt;
  ObservedList seen;
  seen.revision = observe(*list).revision;
  for (const auto& item : items->members) {
    Observed object = observe(*item.value);
    seen.items.emplace(object.name, std::move(object));
  }
  return seen;
}

Witness::Witness(ApiAddress server, std::string path)
    : path_(std::move(path)), client_(std::move(server), patient(20'000ms)) {
  while (!list()) std::this_thread::sleep_for(10ms);
  thread_ = std::thread([this] { run(); });
}

Witness::~Witness() { stop(); }

void Witness::stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

std::map<std::string, Observed> Witness::state() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

bool Witness::list() {
  const Reply reply = client_.request("GET", path_);
  if (reply.status != 200) return false;
  auto list = observe_list(reply.body);
  if (!list) return false;
  const std::lock_guard lock(mutex_);
  last_ = list->revision;
  state_ = std::move(list->items);
  ++lists;
  return true;
}

void Witness::run() {
  while (!stopping_) watch();
}

void Witness::watch() {
  const Reply head = client_.open(fmt::format("{}?watch=true&resourceVersion={}", path_, last_));
  if (head.status != 200) {
    // Nobody is there, or the server has not caught up yet: it is asked again.
    std::this_thread::sleep_for(10ms);
    return;
  }
  ++watches;
  while (!stopping_) {
    const auto line = client_.line(50ms);
    if (line ? !take(*line) : client_.over()) return;
  }
}

// False: the watch is over.
bool Witness::take(const std::string& line) {
  api::Tree tree;
  const auto* event = parse(line, tree);
  const auto* object = event == nullptr ? nullptr : event->find("object");
  if (object == nullptr) {
    fault("no event: " + line);
    return false;
  }
  const std::string type(event->string("type"));
  if (type == "ERROR") {
    const auto* code = object->find("code");
    if (code == nullptr || code->text != "410") {
      fault(line);
      return false;
    }
    while (!stopping_ && !list()) std::this_thread::sleep_for(10ms);
    return false;
  }
  Observed seen = observe(*object);
  if (seen.revision <= last_) fault(fmt::format("after {} came: {}", last_, line));
  last_ = seen.revision;
  const std::lock_guard lock(mutex_);
  const auto known = state_.find(seen.name);
  if ((type == "ADDED") != (known == state_.end())) fault("it is there, or is not: " + line);
  if (known != state_.end() && known->second.uid != seen.uid) fault("it is another one: " + line);
  sightings[seen.revision] = {type, seen};
  if (type == "DELETED") {
    if (known != state_.end()) state_.erase(known);
  } else {
    state_.insert_or_assign(seen.name, std::move(seen));
  }
  return true;
}

}  // namespace keelson::test
