// keelson-puller: downloads an image, or reads an archive, and unpacks it into a staging
// directory, in a cage (sandbox.h). Started by agent/images/puller.cpp, which tells it what
// to do (agent/images/order.h) and moves into the store what it made. A program of its own, so that
// what it needs (libcurl and libarchive with forty libraries of theirs) is in nobody's
// memory but its own, and it starts with nothing of its parent's.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string_view>

#include "agent/images/json.h"
#include "agent/images/order.h"
#include "agent/images/puller/bundle.h"
#include "agent/images/puller/plan.h"
#include "agent/images/puller/registry.h"
#include "agent/images/puller/sandbox.h"
#include "agent/images/reference.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using host::Status;
using host::sys_fail;

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t done = write(fd, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return sys_fail("write");
    text.remove_prefix(static_cast<size_t>(done));
  }
  return {};
}

Status say(const char* key, const std::function<void(JsonWriter&)>& value) {
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  writer.StartObject();
  writer.Key(key);
  value(writer);
  writer.EndObject();
  return write_all(STDOUT_FILENO, std::string(buffer.GetString(), buffer.GetSize()) + "\n");
}

// Hands a layer over and waits until it has been moved.
Status hand_over(const Digest& diff_id) {
  std::string text = diff_id.text();
  auto said = say("layer", [&](JsonWriter& writer) { writer.String(text.c_str()); });
  if (!said) return said;
  char answer = 0;
  ssize_t got = -1;
  while ((got = read(STDIN_FILENO, &answer, 1)) < 0 && errno == EINTR) {
  }
  if (got != 1) return fail(Error::Code::unavailable, "the parent has gone");
  return {};
}

Status bring(const ImagePlan& plan, const Workspace& workspace) {
  if (auto done = execute(plan, workspace, hand_over); !done) return done;
  return say("image", [&](JsonWriter& writer) {
    writer.StartObject();
    write_member(writer, "config", sha256(plan.config).text());
    write_member(writer, "names", plan.names);
    std::vector<std::string> digests;
    for (const auto& digest : plan.digests) digests.push_back(digest.text());
    write_member(writer, "digests", digests);
    writer.EndObject();
  });
}

Status do_import(const Order& order, const Workspace& workspace) {
  if (mkdirat(kStaging, "input", 0700) != 0) return sys_fail("mkdir input");
  auto scratch = open_beneath(kStaging, "input", O_RDONLY | O_DIRECTORY);
  if (!scratch) return std::unexpected(std::move(scratch.error()));
  auto bundle = Bundle::open(Fd(kInput), std::move(*scratch), *workspace.budget, workspace.limits);
  if (!bundle) return std::unexpected(std::move(bundle.error()));
  auto plans = (*bundle)->plan(order.request.reference, host_platform());
  if (!plans) return std::unexpected(std::move(plans.error()));
  for (const auto& plan : *plans) {
    if (auto done = bring(plan, workspace); !done) {
      return std::unexpected(std::move(done.error()).within(plan.names.front()));
    }
  }
  return {};
}

Status do_pull(const Order& order, const Workspace& workspace) {
  auto reference = parse_reference(order.request.reference);
  if (!reference) return std::unexpected(std::move(reference.error()));
  RegistrySettings settings;
  settings.credentials = order.request.credentials;
  settings.insecure_registries = order.request.insecure_registries;
  settings.ca_file = order.request.ca_file;
  settings.partial = kPartial;
  settings.hangup = STDIN_FILENO;
  Registry registry(*reference, std::move(settings));
  auto top = registry.resolve();
  if (!top) return std::unexpected(std::move(top.error()));
  auto plan = plan_image(registry, top->first, std::move(top->second), host_platform());
  if (!plan) return std::unexpected(std::move(plan.error()));
  plan->names.push_back(reference->text());
  return bring(*plan, workspace);
}

Status work() {
  LineReader reader(STDIN_FILENO);
  std::optional<std::string> line;
  while (!(line = reader.take())) {
    auto more = reader.fill();
    if (!more) return std::unexpected(std::move(more.error()));
    if (!*more) return fail("no order on stdin");
  }
  auto order = decode_order(*line);
  if (!order) return std::unexpected(std::move(order.error()));

  Cage cage;
  cage.parent = order->parent;
  cage.writable = {kStaging, kLocks};
  cage.readable = {kLayers};
  cage.network = !order->request.import;
  cage.file_bytes = std::max<uint64_t>(order->bytes, 1 << 20);
  struct stat info{};
  if (order->request.import && fstat(kInput, &info) == 0 && S_ISDIR(info.st_mode)) cage.readable.push_back(kInput);
  if (!order->request.import) cage.writable.push_back(kPartial);
  Fd ca_file;
  if (!order->request.ca_file.empty()) {
    ca_file = Fd(open(order->request.ca_file.c_str(), O_PATH | O_CLOEXEC));
    if (!ca_file) return sys_fail(order->request.ca_file);
    cage.readable_files.push_back(ca_file.get());
  }
  if (auto caged = enter(cage); !caged) return std::unexpected(std::move(caged.error()).within("puller"));

  Budget budget{static_cast<int64_t>(order->bytes), static_cast<int64_t>(order->inodes)};
  Workspace workspace{.staging = kStaging, .layers = kLayers, .locks = kLocks, .budget = &budget, .limits = {}};
  return order->request.import ? do_import(*order, workspace) : do_pull(*order, workspace);
}

int run() {
  auto worked = work();
  if (worked) {
    return say("done", [](JsonWriter& writer) { writer.Bool(true); }) ? 0 : 1;
  }
  static_cast<void>(say("error", [&](JsonWriter& writer) {
    writer.StartObject();
    write_member(writer, "code", name_of(worked.error().code));
    write_member(writer, "message", worked.error().message.substr(0, 4096));
    writer.EndObject();
  }));
  return 1;
}

}  // namespace
}  // namespace keelson::images

int main() { return keelson::images::run(); }
