#include "agent/pods/checks.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "agent/pods/grpc_health.h"
#include "http/client.h"
#include "http/h2_channel.h"

namespace keelson::pods {
namespace {

using host::Error;
using host::fail;
using Done = std::function<void(CheckResult)>;

constexpr size_t kOutputLimit = 10 << 10;

// An address and port as connect(2) takes it; empty for what is no address.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
};

std::optional<SocketAddress> parse_address(const std::string& ip, uint16_t port) {
  SocketAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, ip.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.length = sizeof(sockaddr_in);
    return address;
  }
  if (inet_pton(AF_INET6, ip.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.length = sizeof(sockaddr_in6);
    return address;
  }
  return std::nullopt;
}

std::string no_address(const std::string& host) { return fmt::format("\"{}\" is not an IP address", host); }
std::string bracketed(const std::string& host) { return host.find(':') == std::string::npos ? host : "[" + host + "]"; }

class RealChecks : public Checks {
 public:
  RealChecks(host::Loop& loop, api::PodRuntime& runtime) : loop_(loop), runtime_(runtime) {}

  void run(Check check, Done done) override {
    if (check.handler.exec) {
      run_exec(std::move(check), std::move(done));
    } else if (check.handler.http_get) {
      run_http(check, std::move(done));
    } else if (check.handler.tcp_socket) {
      run_tcp(check, std::move(done));
    } else if (check.handler.grpc) {
      run_grpc(check, std::move(done));
    } else {
      answer(std::move(done), {false, "this kind of probe is not supported on this node"});
    }
  }

 private:
  // Under way; kept by id until it is answered, so that what it watches is released
  // on the loop's thread and never from within its own callback.
  struct Running {
    Done done;
    host::Fd fd;  // the pipe's read end, or the socket
    host::FdWatch watch;
    host::Timer timer;
    http::FetchHandle fetch;
    std::string output;
    std::unique_ptr<http::H2Channel> channel;
  };

  void answer(Done done, CheckResult result) {
    loop_.post([done = std::move(done), result = std::move(result)] { done(result); });
  }

  void finish(uint64_t id, CheckResult result) {
    auto found = running_.find(id);
    if (found == running_.end()) return;
    found->second->timer.cancel();
    found->second->watch = {};
    // The watch and the timer may be the ones that called us.
    loop_.post([running = std::shared_ptr<Running>(std::move(found->second)), result = std::move(result)] {
      running->done(result);
    });
    running_.erase(found);
  }

  Running& begin(Done done, uint64_t& id) {
    id = ++last_id_;
    auto& running = running_[id];
    running = std::make_unique<Running>();
    running->done = std::move(done);
    return *running;
  }

  void run_exec(Check check, Done done) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      answer(std::move(done), {false, host::sys_fail("pipe").error().message});
      return;
    }
    host::Fd read_end(ends[0]), write_end(ends[1]);
    fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
    uint64_t id = 0;
    auto& running = begin(std::move(done), id);
    running.fd = std::move(read_end);
    auto watch = loop_.on_readable(running.fd.get(), [this, id] { drain(id); });
    if (!watch) {
      finish(id, {false, watch.error().message});
      return;
    }
    running.watch = std::move(*watch);
    api::ExecSpec spec;
    spec.argv = check.handler.exec->command;
    spec.stderr_fd = host::Fd(fcntl(write_end.get(), F_DUPFD_CLOEXEC, 3));
    spec.stdout_fd = std::move(write_end);
    spec.timeout_ms = std::chrono::duration_cast<std::chrono::milliseconds>(check.timeout).count();
    runtime_.exec(check.container, std::move(spec), [this, id](host::Result<int> status) {
      drain(id);
      auto found = running_.find(id);
      if (found == running_.end()) return;
      CheckResult result{.success = false, .output = std::move(found->second->output)};
      if (!status) {
        result.output = status.error().message;
      } else {
        result.success = WIFEXITED(*status) && WEXITSTATUS(*status) == 0;
        if (!result.success && result.output.empty()) result.output = describe(*status);
      }
      finish(id, std::move(result));
    });
  }

  static std::string describe(int status) {
    if (WIFSIGNALED(status)) return fmt::format("command ended by signal {}", WTERMSIG(status));
    return fmt::format("command exited with code {}", WEXITSTATUS(status));
  }

  // What is there; more than the limit is read, and thrown away.
  void drain(uint64_t id) {
    auto found = running_.find(id);
    if (found == running_.end()) return;
    auto& running = *found->second;
    char buffer[4096];
    for (int rounds = 0; rounds < 16; ++rounds) {
      auto n = read(running.fd.get(), buffer, sizeof(buffer));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return;
      if (n <= 0) {
        running.watch = {};  // the end: it would be readable forever
        return;
      }
      auto room = kOutputLimit - std::min(kOutputLimit, running.output.size());
      running.output.append(buffer, std::min(static_cast<size_t>(n), room));
    }
  }

  void run_http(const Check& check, Done done) {
    const auto& get = *check.handler.http_get;
    auto port = resolve_port(get.port, check.ports);
    if (!port) {
      answer(std::move(done), {false, port.error().message});
      return;
    }
    bool tls = get.scheme == "HTTPS";
    auto host = get.host.empty() ? check.address : get.host;
    http::Fetch request;
    request.url = fmt::format("{}://{}:{}{}{}", tls ? "https" : "http", bracketed(host), *port,
                              get.path.starts_with('/') ? "" : "/", get.path);
    request.headers.add("User-Agent", "kube-probe/1.30");
    request.headers.add("Accept", "*/*");
    for (const auto& header : get.http_headers) request.headers.set(header.name, header.value);
    if (check.timeout > Duration::zero()) request.timeout = check.timeout;
    request.body_limit = kOutputLimit;
    request.truncate_body = true;
    request.redirects = 10;
    request.tls.verify = false;
    uint64_t id = 0;
    auto& running = begin(std::move(done), id);
    running.fetch = http::fetch(loop_, std::move(request), [this, id](host::Result<http::FetchResponse> response) {
      if (!response) {
        finish(id, {false, response.error().message});
      } else if (response->status >= 200 && response->status < 400) {
        finish(id, {true, std::move(response->body)});
      } else {
        finish(id, {false, fmt::format("HTTP probe failed with statuscode: {}", response->status)});
      }
    });
  }

  void run_tcp(const Check& check, Done done) {
    const auto& tcp = *check.handler.tcp_socket;
    auto port = resolve_port(tcp.port, check.ports);
    if (!port) {
      answer(std::move(done), {false, port.error().message});
      return;
    }
    auto host = tcp.host.empty() ? check.address : tcp.host;
    auto address = parse_address(host, *port);
    if (!address) {
      answer(std::move(done), {false, no_address(host)});
      return;
    }
    auto where = fmt::format("dial tcp {}:{}", bracketed(host), *port);
    host::Fd socket(::socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket || (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address->storage), address->length) != 0 &&
                    errno != EINPROGRESS)) {
      answer(std::move(done), {false, host::sys_fail(where).error().message});
      return;
    }
    uint64_t id = 0;
    auto& running = begin(std::move(done), id);
    running.fd = std::move(socket);
    auto watch = loop_.on_writable(running.fd.get(), [this, id, where] {
      auto found = running_.find(id);
      if (found == running_.end()) return;
      int error = 0;
      socklen_t length = sizeof(error);
      if (getsockopt(found->second->fd.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) error = errno;
      finish(id, error == 0 ? CheckResult{true, ""}
                            : CheckResult{false, fmt::format("{}: {}", where, std::strerror(error))});
    });
    if (!watch) {
      finish(id, {false, watch.error().message});
      return;
    }
    running.watch = std::move(*watch);
    end_in_time(running, id, check.timeout, where);
  }

  void run_grpc(const Check& check, Done done) {
    const auto& grpc = *check.handler.grpc;
    if (grpc.port < 1 || grpc.port > 65535) {
      answer(std::move(done), {false, fmt::format("invalid port number: {}", grpc.port)});
      return;
    }
    if (!parse_address(check.address, static_cast<uint16_t>(grpc.port))) {
      answer(std::move(done), {false, no_address(check.address)});
      return;
    }
    // The check's deadline is the only one.
    constexpr std::chrono::hours kNever(24);
    auto channel = http::H2Channel::create(loop_, {.host = check.address,
                                                   .port = std::to_string(grpc.port),
                                                   .socket = {},
                                                   .tls = {},
                                                   .connect_timeout = kNever,
                                                   .ping_after = kNever});
    if (!channel) {
      answer(std::move(done), {false, channel.error().message});
      return;
    }
    uint64_t id = 0;
    auto& running = begin(std::move(done), id);
    running.channel = std::move(*channel);
    const auto authority = fmt::format("{}:{}", bracketed(check.address), grpc.port);
    end_in_time(running, id, check.timeout, "dial tcp " + authority);
    ask_grpc_health(*running.channel, authority, grpc.service,
                    [this, id](CheckResult result) { finish(id, std::move(result)); });
  }

  void end_in_time(Running& running, uint64_t id, Duration timeout, const std::string& where) {
    if (timeout <= Duration::zero()) return;
    running.timer = loop_.after(timeout, [this, id, where] { finish(id, {false, where + ": i/o timeout"}); });
  }

  host::Loop& loop_;
  api::PodRuntime& runtime_;
  std::map<uint64_t, std::unique_ptr<Running>> running_;
  uint64_t last_id_ = 0;
};

}  // namespace

std::unique_ptr<Checks> make_checks(host::Loop& loop, api::PodRuntime& runtime) {
  return std::make_unique<RealChecks>(loop, runtime);
}

host::Result<uint16_t> resolve_port(const api::IntOrString& port, const std::vector<api::ContainerPort>& ports) {
  int32_t number = port.number;
  if (port.is_string) {
    auto named = std::ranges::find(ports, port.text, &api::ContainerPort::name);
    if (named != ports.end()) {
      number = named->container_port;
    } else {
      const auto* end = port.text.data() + port.text.size();
      auto [rest, error] = std::from_chars(port.text.data(), end, number);
      if (error != std::errc() || rest != end)
        return fail(Error::Code::not_found, fmt::format("couldn't find port named \"{}\"", port.text));
    }
  }
  if (number < 1 || number > 65535) return fail(Error::Code::invalid, fmt::format("invalid port number: {}", number));
  return static_cast<uint16_t>(number);
}

}  // namespace keelson::pods
