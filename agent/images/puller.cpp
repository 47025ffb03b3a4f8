#include "agent/images/puller.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "agent/images/bundle.h"
#include "agent/images/json.h"
#include "agent/images/plan.h"
#include "agent/images/reference.h"
#include "agent/images/registry.h"
#include "agent/images/sandbox.h"
#include "host/process.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using host::Status;
using host::sys_fail;

constexpr const char* kPullerFlag = "--keelson-puller";
constexpr size_t kMaxLine = 1u << 20;
constexpr int kStaging = 3, kLayers = 4, kLocks = 5, kPartial = 6, kInput = 7;
constexpr uint64_t kMaxImageBytes = 256ull << 30;
constexpr uint64_t kMaxImageInodes = 4'000'000;

constexpr std::array<std::pair<Error::Code, const char*>, 7> kCodes = {{{Error::Code::failed, "failed"},
                                                                        {Error::Code::not_found, "not_found"},
                                                                        {Error::Code::exists, "exists"},
                                                                        {Error::Code::invalid, "invalid"},
                                                                        {Error::Code::denied, "denied"},
                                                                        {Error::Code::unavailable, "unavailable"},
                                                                        {Error::Code::unsupported, "unsupported"}}};

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    ssize_t done = write(fd, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return sys_fail("write");
    text.remove_prefix(static_cast<size_t>(done));
  }
  return {};
}

// Lines from a pipe, of bounded length.
class LineReader {
 public:
  explicit LineReader(int fd) : fd_(fd) {}
  // One read(2); then take lines until there is none.
  Result<bool> fill() {
    std::array<char, 4096> chunk;
    ssize_t got = read(fd_, chunk.data(), chunk.size());
    if (got < 0) return errno == EINTR ? Result<bool>(true) : Result<bool>(sys_fail("read from the puller"));
    buffer_.append(chunk.data(), static_cast<size_t>(got));
    if (buffer_.size() > kMaxLine && buffer_.find('\n') == buffer_.npos) return fail("the puller's line is too long");
    return got > 0;
  }
  std::optional<std::string> take() {
    size_t end = buffer_.find('\n');
    if (end == buffer_.npos) return std::nullopt;
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return line;
  }

 private:
  int fd_;
  std::string buffer_;
};

// What the child is told.
struct Order {
  PullRequest request;
  pid_t parent = 0;
  uint64_t bytes = 0, inodes = 0;
};

std::string encode(const Order& order) {
  rapidjson::StringBuffer buffer;
  JsonWriter writer(buffer);
  writer.StartObject();
  write_member(writer, "parent", static_cast<uint64_t>(order.parent));
  write_member(writer, "bytes", order.bytes);
  write_member(writer, "inodes", order.inodes);
  write_member(writer, "import", static_cast<uint64_t>(order.request.import));
  write_member(writer, "reference", order.request.reference);
  write_member(writer, "caFile", order.request.ca_file);
  write_member(writer, "insecureRegistries", order.request.insecure_registries);
  writer.Key("credentials");
  writer.StartArray();
  for (const auto& credential : order.request.credentials) {
    writer.StartObject();
    write_member(writer, "registry", credential.registry);
    write_member(writer, "username", credential.username);
    write_member(writer, "password", credential.password);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

Result<Order> decode_order(std::string_view text) {
  auto document = parse_json_object(text, "the puller's order", kMaxLine);
  if (!document) return std::unexpected(std::move(document.error()));
  Order order;
  order.parent = static_cast<pid_t>(number_member(*document, "parent"));
  order.bytes = number_member(*document, "bytes");
  order.inodes = number_member(*document, "inodes");
  order.request.import = number_member(*document, "import") != 0;
  order.request.reference = string_member(*document, "reference");
  order.request.ca_file = string_member(*document, "caFile");
  order.request.insecure_registries = strings_member(*document, "insecureRegistries");
  if (const auto* credentials = array_member(*document, "credentials")) {
    for (const auto& value : credentials->GetArray()) {
      if (!value.IsObject()) continue;
      order.request.credentials.push_back(
          {string_member(value, "registry"), string_member(value, "username"), string_member(value, "password")});
    }
  }
  return order;
}

// ---- the child ------------------------------------------------------------------

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

// ---- the parent -----------------------------------------------------------------

std::vector<std::string> child_environment() {
  std::vector<std::string> environment = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "SSL_CERT_FILE",
                           "SSL_CERT_DIR", "ASAN_OPTIONS", "UBSAN_OPTIONS"}) {
    if (const char* value = std::getenv(name)) environment.push_back(std::string(name) + "=" + value);
  }
  return environment;
}

Status send_all(int socket, std::string_view text) {
  while (!text.empty()) {
    ssize_t done = send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) return sys_fail("write to the puller");
    text.remove_prefix(static_cast<size_t>(done));
  }
  return {};
}

// What the puller said, in the parent's hands.
class Conversation {
 public:
  Conversation(Staging& staging, int to_child) : staging_(staging), to_child_(to_child) {}

  Status take(const std::string& line) {
    auto message = parse_json_object(line, "the puller's message", kMaxLine);
    if (!message) return std::unexpected(std::move(message.error()));
    if (message->HasMember("layer")) {
      auto diff_id = parse_digest(string_member(*message, "layer"));
      if (!diff_id) return std::unexpected(std::move(diff_id.error()));
      if (auto committed = staging_.commit_layer(*diff_id); !committed) return committed;
      return send_all(to_child_, "\n");
    }
    if (const auto* image = object_member(*message, "image")) {
      StagedImage staged{strings_member(*image, "names"), strings_member(*image, "digests"),
                         string_member(*image, "config")};
      for (const auto& name : staged.names) {
        if (auto parsed = parse_reference(name); !parsed || parsed->text() != name) {
          return fail(Error::Code::invalid, fmt::format("the puller invented the name \"{}\"", name));
        }
      }
      if (auto committed = staging_.commit_image(staged); !committed) return committed;
      ids.push_back(staged.config);
      return {};
    }
    if (const auto* error = object_member(*message, "error")) {
      Error::Code code = Error::Code::failed;
      std::string name = string_member(*error, "code");
      for (const auto& [value, text] : kCodes) {
        if (name == text) code = value;
      }
      return fail(code, string_member(*error, "message"));
    }
    if (message->HasMember("done")) done = true;
    return {};
  }

  bool done = false;
  std::vector<std::string> ids;

 private:
  Staging& staging_;
  int to_child_;
};

Status converse(Conversation& conversation, int from_child, const Fd* cancel) {
  LineReader reader(from_child);
  while (true) {
    std::array<pollfd, 2> waiting = {{{from_child, POLLIN, 0}, {cancel ? cancel->get() : -1, POLLIN, 0}}};
    if (poll(waiting.data(), waiting.size(), -1) < 0) {
      if (errno == EINTR) continue;
      return sys_fail("poll");
    }
    if (waiting[1].revents != 0) return fail(Error::Code::unavailable, "cancelled");
    auto more = reader.fill();
    if (!more) return std::unexpected(std::move(more.error()));
    while (auto line = reader.take()) {
      if (auto taken = conversation.take(*line); !taken) return taken;
    }
    if (!*more) return {};
  }
}

int wait_for(const Fd& pidfd) {
  pollfd waiting{pidfd.get(), POLLIN, 0};
  while (poll(&waiting, 1, -1) < 0 && errno == EINTR) {
  }
  return host::reap(pidfd).value_or(0);
}

}  // namespace

bool is_puller(int argc, char** argv) { return argc == 2 && std::strcmp(argv[1], kPullerFlag) == 0; }

int run_puller() {
  auto worked = work();
  if (worked) {
    return say("done", [](JsonWriter& writer) { writer.Bool(true); }) ? 0 : 1;
  }
  static_cast<void>(say("error", [&](JsonWriter& writer) {
    writer.StartObject();
    for (const auto& [value, text] : kCodes) {
      if (worked.error().code == value) write_member(writer, "code", text);
    }
    write_member(writer, "message", worked.error().message.substr(0, 4096));
    writer.EndObject();
  }));
  return 1;
}

Result<std::vector<api::ImageInfo>> run_pull(const ImageDirectory& images, const PullRequest& request, const Fd* input,
                                             const PullerSettings& settings, const Fd* cancel) {
  auto staging = images.stage();
  if (!staging) return std::unexpected(std::move(staging.error()));
  auto room = images.room();
  if (!room) return std::unexpected(std::move(room.error()));
  if (room->first == 0 || room->second == 0) {
    return fail(Error::Code::unavailable,
                fmt::format("no space left for images in {} (5 % stay free)", images.path().string()));
  }
  Order order{request, getpid(), std::min(room->first, kMaxImageBytes), std::min(room->second, kMaxImageInodes)};

  auto beneath = [&](const char* name) {
    return open_beneath(images.descriptor().get(), name, O_RDONLY | O_DIRECTORY);
  };
  auto layers = beneath("layers"), locks = beneath("locks"), partial = beneath("partial");
  if (!layers) return std::unexpected(std::move(layers.error()));
  if (!locks) return std::unexpected(std::move(locks.error()));
  if (!partial) return std::unexpected(std::move(partial.error()));
  std::array<int, 2> in{}, out{};
  // A socket, so that writing to a puller that died is an error and no SIGPIPE.
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, in.data()) != 0) return sys_fail("socketpair");
  Fd in_read(in[0]), in_write(in[1]);
  if (pipe2(out.data(), O_CLOEXEC) != 0) return sys_fail("pipe");
  Fd out_read(out[0]), out_write(out[1]);

  host::SpawnOptions options;
  options.argv = {settings.program, kPullerFlag};
  options.environment = child_environment();
  options.fds = {{in_read.get(), STDIN_FILENO},  {out_write.get(), STDOUT_FILENO},
                 {STDERR_FILENO, STDERR_FILENO}, {staging->directory().get(), kStaging},
                 {layers->get(), kLayers},       {locks->get(), kLocks},
                 {partial->get(), kPartial}};
  if (input) options.fds.emplace_back(input->get(), kInput);
  auto child = host::spawn(options);
  if (!child) return std::unexpected(std::move(child.error()).within("start the puller"));
  in_read.reset();
  out_write.reset();

  Conversation conversation(*staging, in_write.get());
  auto outcome = send_all(in_write.get(), encode(order));
  if (outcome) outcome = converse(conversation, out_read.get(), cancel);
  in_write.reset();
  if (!outcome) static_cast<void>(host::send_signal(child->pidfd, SIGKILL));
  int status = wait_for(child->pidfd);
  if (!outcome) return std::unexpected(std::move(outcome.error()));
  if (!conversation.done) {
    return fail(Error::Code::unavailable, WIFSIGNALED(status)
                                              ? fmt::format("the puller was killed by signal {}", WTERMSIG(status))
                                              : fmt::format("the puller ended with code {}", WEXITSTATUS(status)));
  }
  std::vector<api::ImageInfo> result;
  for (const auto& id : conversation.ids) {
    auto image = images.find(id);
    if (!image) return std::unexpected(std::move(image.error()));
    result.push_back(std::move(*image));
  }
  return result;
}

Result<std::vector<api::ImageInfo>> import_images(const ImageDirectory& images, const host::Path& source,
                                                  const std::string& name, const PullerSettings& settings) {
  PullRequest request;
  request.import = true;
  if (!name.empty()) {
    auto parsed = parse_reference(name);
    if (!parsed) return std::unexpected(std::move(parsed.error()));
    request.reference = parsed->text();
  }
  Fd input(source == "-" ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(source.c_str(), O_RDONLY | O_CLOEXEC));
  if (!input) return sys_fail(source.string());
  auto imported = run_pull(images, request, &input, settings, nullptr);
  if (!imported) return std::unexpected(std::move(imported.error()).within("import " + source.string()));
  return imported;
}

Result<api::ImageInfo> pull_image(const ImageDirectory& images, PullRequest request, const PullerSettings& settings) {
  auto parsed = parse_reference(request.reference);
  if (!parsed) return std::unexpected(std::move(parsed.error()));
  request.reference = parsed->text();
  request.import = false;
  auto pulled = run_pull(images, request, nullptr, settings, nullptr);
  if (!pulled) return std::unexpected(std::move(pulled.error()));
  if (pulled->empty()) return fail("the puller brought nothing");
  return std::move(pulled->front());
}

}  // namespace keelson::images
