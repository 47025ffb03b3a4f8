#include "master/apiserver/pod_log.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <expected>
#include <utility>

#include "api/codec.h"
#include "http/pool.h"
#include "master/apiserver/status.h"

namespace keelson::apiserver {

namespace {

constexpr size_t kMostQueued = 256u << 10;  // of a client; past it the agent is not read
constexpr size_t kMostError = 16u << 10;    // of what the agent says is wrong

template <typename C>
std::vector<std::string> names_of(const std::vector<C>& containers) {
  std::vector<std::string> names;
  for (const auto& container : containers) names.push_back(container.name);
  return names;
}

// The container that is meant, as Kubernetes decides it and in its words.
std::expected<std::string, api::Status> container_of(const api::Pod& pod, const std::string& asked) {
  const auto containers = names_of(pod.spec.containers);
  const auto init = names_of(pod.spec.init_containers);
  if (asked.empty()) {
    if (containers.size() == 1 && init.empty()) return containers.front();
    std::string message = fmt::format("a container name must be specified for pod {}, choose one of: [{}]",
                                      pod.metadata.name, fmt::join(containers, " "));
    if (!init.empty()) message += fmt::format(" or one of the init containers: [{}]", fmt::join(init, " "));
    return std::unexpected(bad_request(std::move(message)));
  }
  if (std::ranges::find(containers, asked) == containers.end() && std::ranges::find(init, asked) == init.end()) {
    return std::unexpected(bad_request(fmt::format("container {} is not valid for pod {}", asked, pod.metadata.name)));
  }
  return asked;
}

// An address that reaches the agent, best first.
std::string address_of(const api::Node& node) {
  for (const std::string_view type : {"InternalIP", "ExternalIP"}) {
    for (const auto& address : node.status.addresses) {
      if (address.type == type) return address.address;
    }
  }
  return {};
}

http::Answer text_answer() { return {.status = 200, .content_type = "text/plain", .body = {}, .headers = {}}; }

// Of what the agent answered instead of a log: its words, or its Status's.
api::Status refusal_of(int status, std::string text, const std::string& node) {
  if (auto said = api::decode_json<api::Status>(text); said && !said->message.empty()) text = said->message;
  while (text.ends_with('\n')) text.pop_back();
  if (status == 400) return bad_request(std::move(text));
  if (status == 404) return failure(404, "NotFound", std::move(text));
  if (status == 429) return too_many_requests();
  return internal_error(fmt::format("the agent of node {} answered {}: {}", node, status, text));
}

}  // namespace

class PodLog::Session {
 public:
  Session(CallPtr call, std::string node, std::function<void()> over)
      : call_(std::move(call)), node_(std::move(node)), over_(std::move(over)) {}

  host::Status begin(host::Loop& loop, http::PoolOptions options, std::string target) {
    auto pool = http::Pool::create(loop, std::move(options));
    if (!pool) return std::unexpected(pool.error());
    pool_ = std::move(*pool);
    agent_ = pool_->stream({.target = std::move(target)},
                           {.head = [this](int status, const http::Headers&) { head(status); },
                            .chunk = [this](std::string chunk) { take(std::move(chunk)); },
                            .end = [this](host::Status ended) { end(std::move(ended)); }});
    return {};
  }
  void refuse(const api::Status& status) {
    if (const auto call = std::exchange(call_, nullptr)) call->fail(status);
  }

 private:
  void head(int status) {
    status_ = status;
    if (status != 200) return;  // what is wrong follows
    stream_ = std::exchange(call_, nullptr)->stream(text_answer());
    stream_.on_drained([this] {
      if (std::exchange(paused_, false)) agent_.resume();
    });
    stream_.on_closed([this] { finish(); });
    if (!stream_.open()) finish();
  }

  void take(std::string chunk) {
    if (status_ != 200) {
      error_.append(chunk, 0, kMostError - std::min(kMostError, error_.size()));
      return;
    }
    if (!stream_.write(std::move(chunk))) return finish();
    if (stream_.queued() > kMostQueued && !std::exchange(paused_, true)) agent_.pause();
  }

  void end(host::Status ended) {
    if (status_ == 200) {
      // Broken off in the middle, it stays broken off for the client.
      if (ended) stream_.end();
    } else if (status_ != 0) {
      refuse(refusal_of(status_, std::move(error_), node_));
    } else {
      refuse(internal_error(
          fmt::format("the agent of node {} cannot be asked: {}", node_, ended ? "no answer" : ended.error().message)));
    }
    finish();
  }

  void finish() {
    if (auto over = std::exchange(over_, nullptr)) over();
  }

  CallPtr call_;  // until it is answered
  std::string node_;
  std::function<void()> over_;  // has us destroyed, later; null once called
  int status_ = 0;
  bool paused_ = false;
  std::string error_;
  http::Stream stream_;
  std::unique_ptr<http::Pool> pool_;
  http::Call agent_;
};

PodLog::PodLog(host::Loop& loop, Store& store, AgentAccess access)
    : loop_(loop), store_(store), access_(std::move(access)) {}
PodLog::~PodLog() = default;

bool PodLog::serves(const http::Request&, const Attributes& attributes) const {
  return attributes.is_resource && attributes.kind == &api::resource_of<api::Pod>() &&
         attributes.subresource == "log" && attributes.rest.empty();
}

void PodLog::handle(CallPtr call) {
  const Attributes& attributes = call->attributes;
  const http::Request& request = call->request;
  const auto refuse = [&call](const api::Status& status) { call->fail(status); };
  if (attributes.verb != "get") return refuse(method_not_allowed());
  const VersionPtr version = store_.find<api::Pod>(attributes.namespace_, attributes.name);
  if (!version) return refuse(not_found(subject_of(*attributes.kind, attributes.name)));
  const api::Pod& pod = *version->object.get_if<api::Pod>();
  auto container = container_of(pod, request.query.get("container").value_or(""));
  if (!container) return refuse(container.error());
  auto skip_verification = request.query.flag("insecureSkipTLSVerifyBackend");
  if (!skip_verification) return refuse(bad_request(skip_verification.error().message));
  const std::string& node_name = pod.spec.node_name;
  if (node_name.empty()) return call->answer(text_answer());  // it has not said anything yet
  const VersionPtr node_version = store_.find<api::Node>("", node_name);
  if (!node_version)
    return refuse(internal_error(fmt::format("node {} of pod {} is unknown", node_name, attributes.name)));
  const api::Node& node = *node_version->object.get_if<api::Node>();
  const std::string address = address_of(node);
  if (address.empty()) return refuse(internal_error(fmt::format("node {} has no address", node_name)));
  if (sessions_.size() >= access_.max_logs) return refuse(too_many_requests());

  const int32_t told = node.status.daemon_endpoints.kubelet_endpoint.port;
  http::PoolOptions options{.url = fmt::format("https://{}:{}", node_name, told == 0 ? 10250 : told),
                            .connect_to = address,
                            .tls = access_.tls,
                            .max_connections = 1};
  options.tls.verify = !*skip_verification;
  std::string target = fmt::format("/containerLogs/{}/{}/{}", http::percent_encode(attributes.namespace_),
                                   http::percent_encode(attributes.name), http::percent_encode(*container));
  char separator = '?';
  for (const char* name :
       {"follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"}) {
    const auto value = request.query.get(name);
    if (!value) continue;
    target += fmt::format("{}{}={}", std::exchange(separator, '&'), name, http::percent_encode(*value));
  }

  sessions_.emplace_back();
  const auto at = std::prev(sessions_.end());
  // Not at once: it is called from within the session.
  *at = std::make_unique<Session>(std::move(call), node_name,
                                  [this, at] { loop_.post([this, at] { sessions_.erase(at); }); });
  if (auto begun = (*at)->begin(loop_, std::move(options), std::move(target)); !begun) {
    (*at)->refuse(internal_error(begun.error().message));
    sessions_.erase(at);
  }
}

}  // namespace keelson::apiserver
