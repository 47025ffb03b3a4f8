#include "master/etcd_child/etcd_child.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <thread>
#include <utility>

#include "host/log.h"
#include "host/process.h"

namespace keelson::etcd_child {

using host::fail;
using host::Fd;
using host::log_debug;
using host::log_info;
using host::log_warning;
using host::Path;
using host::Result;
using host::Status;

namespace {

constexpr size_t kLongestLine = 2048;
// What is left of sun_path's 108 bytes for a directory.
constexpr size_t kLongestSocketPath = sizeof(sockaddr_un::sun_path) - 1;

std::string how_it_ended(int wait_status) {
  if (WIFSIGNALED(wait_status)) return fmt::format("killed by signal {}", WTERMSIG(wait_status));
  return fmt::format("exit status {}", WEXITSTATUS(wait_status));
}

// {"level":"warn",…,"msg":"…","error":"…"}: the level, for ours.
bool is_grave(std::string_view line) {
  return !line.starts_with(R"({"level":"warn")") && !line.starts_with(R"({"level":"info")");
}

// Go's threads look for work, and wake each other, on as many processors as it is given. On a machine of two
// both of them cost a sixth more than one, for the same writes; and the machine is there for others too.
std::string threads_of_go() {
  if (const char* asked = std::getenv("GOMAXPROCS")) return asked;
  return std::to_string(std::max(1u, std::thread::hardware_concurrency() / 2));
}

}  // namespace

struct EtcdChild::Impl {
  Impl(host::Loop& loop_, Settings settings_, std::function<void()> ready_)
      : loop(loop_), settings(std::move(settings_)), ready(std::move(ready_)), backoff(settings.least_backoff) {}

  host::Loop& loop;
  Settings settings;
  std::function<void()> ready;
  host::Duration backoff;
  std::minstd_rand random{std::random_device{}()};

  Fd directory;  // short name for the sockets of a long path: /proc/self/fd/<this>
  Fd notify;
  std::optional<host::Child> child;
  Fd output;
  std::string line;  // of its output, unfinished
  bool serving = false;
  bool stopping = false;
  int64_t deaths = 0;
  host::TimePoint started;
  std::function<void()> stopped;
  // Behind what they watch: they go first.
  host::FdWatch notify_watch, output_watch, child_watch;
  host::Timer again, kill;

  Status prepare();
  Status launch();
  void launch_again();
  void heard();
  void read_output();
  void tell(std::string_view text);
  void ended();
  void signal(int number) {
    if (child) [[maybe_unused]]
      auto sent = host::send_signal(child->pidfd, number);  // gone already: ended() follows
  }
};

Status EtcdChild::Impl::prepare() {
  if (auto made = host::make_directories(settings.directory, 0700); !made) return made;
  auto opened = host::open_file(settings.directory, O_RDONLY | O_DIRECTORY);
  if (!opened) return std::unexpected(opened.error());
  directory = std::move(*opened);

  notify = Fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!notify) return host::sys_fail("socket");
  // Bound by way of the descriptor, as the path may be too long; etcd finds it by the same name
  // in its working directory.
  if (::unlinkat(directory.get(), "notify", 0) != 0 && errno != ENOENT) {
    return host::sys_fail("remove " + (settings.directory / "notify").string());
  }
  const std::string name = fmt::format("/proc/self/fd/{}/notify", directory.get());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, name.data(), name.size());
  if (::bind(notify.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return host::sys_fail("bind " + (settings.directory / "notify").string());
  }
  auto watch = loop.on_readable(notify.get(), [this] { heard(); });
  if (!watch) return std::unexpected(watch.error());
  notify_watch = std::move(*watch);
  return {};
}

Status EtcdChild::Impl::launch() {
  // A socket that a killed etcd has left is in its successor's way.
  for (const char* socket : {"client.sock:0", "peer.sock:0"}) ::unlinkat(directory.get(), socket, 0);
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) return host::sys_fail("pipe");
  output = Fd(ends[0]);
  const Fd theirs(ends[1]);
  ::fcntl(theirs.get(), F_SETFL, 0);  // Go writes its log as to a file

  const host::SpawnOptions options{
      .argv = {settings.program, "--name", "keelson", "--data-dir", "data",
               // No TCP port, not even for peers that there are none of.
               "--listen-client-urls", "unix://client.sock:0", "--advertise-client-urls", "unix://client.sock:0",
               "--listen-peer-urls", "unix://peer.sock:0", "--initial-advertise-peer-urls", "unix://peer.sock:0",
               "--initial-cluster", "keelson=unix://peer.sock:0",
               // The only member elects itself when the election timeout has passed: 1.3 s by default.
               "--heartbeat-interval", "20", "--election-timeout", "100",
               // Entries kept in memory; the default of 100,000 is more than a hundred MB.
               "--snapshot-count", "10000", "--quota-backend-bytes", fmt::format("{}", settings.quota_bytes),
               "--logger", "zap", "--log-level", "warn"},
      .environment = {"NOTIFY_SOCKET=notify", "PATH=/usr/bin:/bin", "GOMAXPROCS=" + threads_of_go()},
      .fds = {{theirs.get(), 1}, {theirs.get(), 2}},
      .cgroup = {},
      .working_directory = settings.directory.string(),
      .parent_death_signal = SIGKILL,
  };
  auto spawned = host::spawn(options);
  if (!spawned) return std::unexpected(std::move(spawned.error()).within("etcd"));
  child = std::move(*spawned);
  started = host::Clock::now();
  line.clear();
  auto out = loop.on_readable(output.get(), [this] { read_output(); });
  if (out) output_watch = std::move(*out);
  auto end = loop.on_readable(child->pidfd.get(), [this] { ended(); });
  if (!end) {
    signal(SIGKILL);
    return std::unexpected(end.error());
  }
  child_watch = std::move(*end);
  return {};
}

void EtcdChild::Impl::heard() {
  std::array<char, 4096> text{};
  ssize_t size = 0;
  bool said_ready = false;
  while ((size = ::recv(notify.get(), text.data(), text.size(), 0)) > 0) {
    said_ready |= std::string_view(text.data(), static_cast<size_t>(size)).find("READY=1") != std::string_view::npos;
  }
  if (!said_ready || serving || !child || stopping) return;
  serving = true;
  log_info("etcd: serves after {} ms",
           std::chrono::duration_cast<std::chrono::milliseconds>(host::Clock::now() - started).count());
  if (ready) ready();
}

void EtcdChild::Impl::read_output() {
  std::array<char, 8192> chunk{};
  const ssize_t size = ::read(output.get(), chunk.data(), chunk.size());
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) {
    output_watch = {};
    return;
  }
  std::string_view rest(chunk.data(), static_cast<size_t>(size));
  for (size_t end = 0; (end = rest.find('\n')) != std::string_view::npos; rest.remove_prefix(end + 1)) {
    line.append(rest.substr(0, std::min(end, kLongestLine - std::min(line.size(), kLongestLine))));
    tell(line);
    line.clear();
  }
  line.append(rest.substr(0, kLongestLine - std::min(line.size(), kLongestLine)));
}

void EtcdChild::Impl::tell(std::string_view text) {
  if (text.empty()) return;
  if (is_grave(text)) {
    log_warning("etcd: {}", text.substr(0, text.find(",\"stacktrace\":")));
  } else {
    log_debug("etcd: {}", text);
  }
}

void EtcdChild::Impl::ended() {
  auto status = host::reap(child->pidfd);
  if (!status) return;  // not yet
  child_watch = {};
  read_output();
  output_watch = {};
  child.reset();
  const bool served = std::exchange(serving, false);
  kill.cancel();
  if (stopping) {
    if (auto done = std::exchange(stopped, nullptr)) done();  // which may destroy us
    return;
  }
  ++deaths;
  // Who has served for a while and dies is no case for patience.
  if (served && host::Clock::now() - started > settings.most_backoff) backoff = settings.least_backoff;
  const auto jitter = std::uniform_real_distribution<double>(0.8, 1.2)(random);
  const auto delay = std::chrono::duration_cast<host::Duration>(backoff * jitter);
  log_warning("etcd: ended ({}); it is started again in {} ms", how_it_ended(*status),
              std::chrono::duration_cast<std::chrono::milliseconds>(delay).count());
  backoff = std::min(backoff * 2, settings.most_backoff);
  again = loop.after(delay, [this] { launch_again(); });
}

void EtcdChild::Impl::launch_again() {
  auto launched = launch();
  if (launched) return;
  child.reset();
  log_warning("{}; it is tried again in {} s", launched.error().message,
              std::chrono::duration_cast<std::chrono::seconds>(settings.most_backoff).count());
  again = loop.after(settings.most_backoff, [this] { launch_again(); });
}

EtcdChild::EtcdChild(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

EtcdChild::~EtcdChild() {
  if (!impl_->child) return;
  impl_->signal(SIGKILL);
  pollfd ended{.fd = impl_->child->pidfd.get(), .events = POLLIN, .revents = 0};
  ::poll(&ended, 1, 2000);  // a killed process is gone in no time, and leaves no zombie
  [[maybe_unused]] auto reaped = host::reap(impl_->child->pidfd);
}

Result<std::unique_ptr<EtcdChild>> EtcdChild::start(host::Loop& loop, Settings settings, std::function<void()> ready) {
  auto impl = std::make_unique<Impl>(loop, std::move(settings), std::move(ready));
  if (auto prepared = impl->prepare(); !prepared) return std::unexpected(std::move(prepared.error()).within("etcd"));
  if (auto launched = impl->launch(); !launched) return std::unexpected(launched.error());
  return std::unique_ptr<EtcdChild>(new EtcdChild(std::move(impl)));
}

std::string EtcdChild::endpoint() const {
  std::error_code ignored;
  const Path socket = std::filesystem::absolute(impl_->settings.directory, ignored) / "client.sock:0";
  if (socket.string().size() <= kLongestSocketPath) return "unix://" + socket.string();
  return fmt::format("unix:///proc/self/fd/{}/client.sock:0", impl_->directory.get());
}

bool EtcdChild::serves() const { return impl_->serving; }
int64_t EtcdChild::pid() const { return impl_->child ? impl_->child->identity.pid : 0; }
int64_t EtcdChild::deaths() const { return impl_->deaths; }

void EtcdChild::stop(std::function<void()> stopped) {
  impl_->stopping = true;
  impl_->serving = false;
  impl_->again.cancel();
  if (!impl_->child) {
    impl_->loop.post(std::move(stopped));
    return;
  }
  impl_->stopped = std::move(stopped);
  impl_->signal(SIGTERM);
  impl_->kill = impl_->loop.after(impl_->settings.stop_timeout, [impl = impl_.get()] {
    log_warning("etcd: does not end, killing it");
    impl->signal(SIGKILL);
  });
}

}  // namespace keelson::etcd_child
