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

#include "agent/images/json.h"
#include "agent/images/reference.h"
#include "host/process.h"

namespace keelson::images {
namespace {

using host::Error;
using host::fail;
using host::Fd;
using host::Result;
using host::Status;
using host::sys_fail;

constexpr uint64_t kMaxImageBytes = 256ull << 30;
constexpr uint64_t kMaxImageInodes = 4'000'000;

std::string beside_us(std::string_view program) {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).parent_path() / program;
}

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
    auto message = parse_json_object(line, "the puller's message", kMaxOrderLine);
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
      return fail(code_of(string_member(*error, "code")), string_member(*error, "message"));
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
  options.argv = {settings.program.empty() ? beside_us("keelson-puller") : settings.program};
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
