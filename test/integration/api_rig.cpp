#include "test/integration/api_rig.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <future>

#include "api/tree.h"
#include "test/patience.h"

namespace keelson::test {

using std::chrono::milliseconds;
using std::chrono::seconds;

// ---- JSON --------------------------------------------------------------------------------

std::string json_at(const std::string& json, std::string_view pointer) {
  api::Tree tree;
  size_t used = 0;
  const auto root = api::read_json(json, tree, 1, used);
  if (!root) return {};
  const api::Value* at = *root;
  while (at != nullptr && !pointer.empty()) {
    pointer.remove_prefix(1);
    std::string key(pointer.substr(0, pointer.find('/')));
    pointer.remove_prefix(key.size());
    for (size_t escape = 0; (escape = key.find('~', escape)) != std::string::npos; ++escape) {
      key.replace(escape, 2, key[escape + 1] == '1' ? "/" : "~");
    }
    if (at->kind == api::Value::Kind::list) {
      const size_t index = std::stoul(key);
      at = index < at->members.size() ? at->members[index].value : nullptr;
    } else {
      at = at->find(key);
    }
  }
  if (at == nullptr || at->kind == api::Value::Kind::null) return {};
  if (at->kind == api::Value::Kind::string) return std::string(at->text);
  std::string out;
  size_t budget = 1'000'000;
  api::write_json(*at, out, budget);
  return out;
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  BOOST_REQUIRE_MESSAGE(at != std::string::npos, "no " << from << " in " << text);
  return text.replace(at, from.size(), to);
}

std::string HttpAnswer::operator[](std::string_view pointer) const { return json_at(body, pointer); }

// ---- HTTP --------------------------------------------------------------------------------

HttpClient::HttpClient(uint16_t port, milliseconds patience) : patience_(patience) {
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
  const int on = 1;
  ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  BOOST_REQUIRE_EQUAL(::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
}

HttpClient::~HttpClient() { ::close(fd_); }

bool HttpClient::fill(milliseconds patience) {
  pollfd poll{.fd = fd_, .events = POLLIN, .revents = 0};
  if (::poll(&poll, 1, static_cast<int>(patience.count())) <= 0) return false;
  char bytes[1 << 16];
  const ssize_t size = ::recv(fd_, bytes, sizeof bytes, 0);
  if (size <= 0) return false;
  buffer_.append(bytes, static_cast<size_t>(size));
  return true;
}

std::string HttpClient::until(std::string_view mark) {
  size_t at = 0;
  while ((at = buffer_.find(mark)) == std::string::npos) BOOST_REQUIRE_MESSAGE(fill(patience_), "no answer");
  return take(at + mark.size());
}

std::string HttpClient::take(size_t count) {
  while (buffer_.size() < count) BOOST_REQUIRE_MESSAGE(fill(patience_), "the answer is cut short");
  std::string taken = buffer_.substr(0, count);
  buffer_.erase(0, count);
  return taken;
}

HttpAnswer HttpClient::open(const std::string& target, const std::string& headers) {
  const std::string text = fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\n{}\r\n", target, headers);
  BOOST_REQUIRE_EQUAL(::send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  HttpAnswer answer;
  answer.headers = until("\r\n\r\n");
  answer.status = std::stoi(answer.headers.substr(9, 3));
  return answer;
}

HttpAnswer HttpClient::request(const std::string& method, const std::string& target, const std::string& body,
                               const std::string& headers) {
  std::string text = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\n{}", method, target, headers);
  if (!body.empty() && headers.find("Content-Type") == std::string::npos) text += "Content-Type: application/json\r\n";
  if (method != "GET" || !body.empty()) text += fmt::format("Content-Length: {}\r\n", body.size());
  text += "\r\n" + body;
  for (size_t sent = 0; sent < text.size();) {
    const ssize_t size = ::send(fd_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (size <= 0) break;  // refused on its head alone: the answer says why
    sent += static_cast<size_t>(size);
  }
  HttpAnswer answer;
  answer.headers = until("\r\n\r\n");
  answer.status = std::stoi(answer.headers.substr(9, 3));
  const size_t length = answer.headers.find("Content-Length: ");
  if (length != std::string::npos) {
    answer.body = take(std::stoul(answer.headers.substr(length + 16)));
    return answer;
  }
  while (true) {
    const size_t size = std::stoul(until("\r\n"), nullptr, 16);
    answer.body += take(size);
    until("\r\n");
    if (size == 0) return answer;
  }
}

std::optional<std::string> HttpClient::line(milliseconds patience) {
  while (lines_.find('\n') == std::string::npos) {
    if (ended_) return std::nullopt;
    while (buffer_.find("\r\n") == std::string::npos) {
      if (!fill(patience)) return std::nullopt;
    }
    const size_t size = std::stoul(until("\r\n"), nullptr, 16);
    lines_ += take(size);
    until("\r\n");
    if (size == 0) ended_ = true;
  }
  std::string line = lines_.substr(0, lines_.find('\n'));
  lines_.erase(0, line.size() + 1);
  return line;
}

// ---- the server --------------------------------------------------------------------------

namespace {

struct Everybody : apiserver::Authenticator, apiserver::Authorizer {
  std::optional<apiserver::User> authenticate(const http::Request&) override {
    return apiserver::User{"admin", {"system:masters", "system:authenticated"}};
  }
  apiserver::Decision authorize(const apiserver::User&, const apiserver::Attributes&) override { return {true, {}}; }
};

// Store and ApiServer with a loop on a thread of their own.
struct Master {
  Master(const std::string& etcd_endpoint, uint16_t port, const RigOptions& options);
  ~Master();

  std::unique_ptr<host::Loop> loop = host::Loop::create(1);
  host::Metrics metrics;
  Everybody everybody;
  std::unique_ptr<etcd::Client> etcd;
  std::unique_ptr<apiserver::Store> store;
  std::unique_ptr<apiserver::ApiServer> api;
  std::unique_ptr<http::Server> http;
  std::thread thread;
};

Master::Master(const std::string& etcd_endpoint, uint16_t port, const RigOptions& options) {
  auto client = etcd::Client::create(*loop, {.servers = {etcd_endpoint}});
  BOOST_REQUIRE_MESSAGE(client, client.error().message);
  etcd = std::move(*client);
  store = apiserver::Store::create(*loop, *etcd, metrics, options.store);
  api = std::make_unique<apiserver::ApiServer>(*loop, *store, metrics, apiserver::Access{everybody, everybody, nullptr},
                                               options.server);
  auto server = http::Server::listen(*loop, {.port = port, .max_connections = 20'000}, *api);
  BOOST_REQUIRE_MESSAGE(server, server.error().message);
  http = std::move(*server);
  thread = std::thread([this] { loop->run(); });
}

Master::~Master() {
  loop->stop();
  thread.join();
  http.reset();
  api.reset();
  store.reset();
  etcd.reset();
}

}  // namespace

struct ApiRig::Server : Master {
  using Master::Master;
};
struct SecondServer::Impl : Master {
  using Master::Master;
};

ApiRig::ApiRig(Options options) : options_(std::move(options)) {
  char name[] = "/tmp/keelson-api-XXXXXX";
  BOOST_REQUIRE(::mkdtemp(name) != nullptr);
  directory_ = name;
  if (options_.server.registry.service_cluster_ips.size() > 1u << 30 ||
      options_.server.registry.service_cluster_ips.prefix() == 0) {
    options_.server.registry.service_cluster_ips = *host::Cidr::parse("10.96.0.0/16");
  }
  start_etcd();
  start_server();
  if (options_.namespaces) {
    const auto made = post("/api/v1/namespaces", R"({"metadata":{"name":"default"}})");
    BOOST_REQUIRE_MESSAGE(made.status == 201, made.body);
  }
}

ApiRig::~ApiRig() {
  stop_server();
  kill_etcd();
  std::filesystem::remove_all(directory_);
}

double ApiRig::server_cpu_seconds() const {
  clockid_t clock{};
  timespec time{};
  ::pthread_getcpuclockid(server_->thread.native_handle(), &clock);
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

std::string ApiRig::url() const { return fmt::format("http://127.0.0.1:{}", port_); }

void ApiRig::start_etcd() {
  // etcd 3.4 takes a unix socket by its name in the working directory.
  const std::string script =
      "cd \"$0\" && rm -f ./*.sock:0 && exec /usr/bin/etcd --name rig --data-dir data --listen-client-urls "
      "unix://client.sock:0 "
      "--advertise-client-urls unix://client.sock:0 --listen-peer-urls unix://peer.sock:0 "
      "--initial-advertise-peer-urls unix://peer.sock:0 --initial-cluster rig=unix://peer.sock:0 "
      "--heartbeat-interval 20 --election-timeout 100 --logger zap --log-level error";
  const auto spawn = [&] {
    auto child =
        host::spawn({.argv = {"/bin/sh", "-c", script, directory_.string()}, .environment = {"PATH=/usr/bin:/bin"}});
    BOOST_REQUIRE_MESSAGE(child, child.error().message);
    etcd_ = std::move(*child);
  };
  spawn();
  const auto deadline = std::chrono::steady_clock::now() + patient(std::chrono::seconds(30));
  while (std::chrono::steady_clock::now() < deadline) {
    if (etcdctl({"get", "x"}).wait_status == 0) return;
    // One that is started the moment after another was killed may find its files still locked, and ends.
    if (host::reap(etcd_->pidfd)) spawn();
    std::this_thread::sleep_for(milliseconds(50));
  }
  BOOST_FAIL("etcd does not serve");
}

void ApiRig::kill_etcd() {
  if (!etcd_) return;
  (void)host::send_signal(etcd_->pidfd, SIGKILL);
  pollfd poll{.fd = etcd_->pidfd.get(), .events = POLLIN, .revents = 0};
  ::poll(&poll, 1, 10'000);
  (void)host::reap(etcd_->pidfd);
  etcd_.reset();
}

host::Output ApiRig::etcdctl(const std::vector<std::string>& arguments) {
  std::vector<std::string> argv = {"/usr/bin/etcdctl", "--endpoints", etcd_endpoint(), "--command-timeout", "2s"};
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  auto output = host::run({.argv = argv, .environment = {"ETCDCTL_API=3", "PATH=/usr/bin:/bin"}}, "", patient(20'000));
  BOOST_REQUIRE_MESSAGE(output, output.error().message);
  return *output;
}

void ApiRig::start_server() {
  server_ = std::make_unique<Server>(etcd_endpoint(), port_, options_);
  port_ = server_->http->port();
}

void ApiRig::stop_server() {
  client_.reset();
  server_.reset();
}

void ApiRig::restart_server() {
  stop_server();
  start_server();
}

void ApiRig::on_loop(const std::function<void()>& task) {
  std::promise<void> done;
  server_->loop->post([&] {
    task();
    done.set_value();
  });
  done.get_future().wait();
}

apiserver::Store& ApiRig::store() { return *server_->store; }

HttpAnswer ApiRig::send(const std::string& method, const std::string& target, const std::string& body,
                        const std::string& headers) {
  if (!client_) client_ = std::make_unique<HttpClient>(port_);
  HttpAnswer answer = client_->request(method, target, body, headers);
  if (answer.headers.find("Connection: close") != std::string::npos) client_.reset();
  return answer;
}

HttpAnswer ApiRig::get(const std::string& target, const std::string& headers) {
  return send("GET", target, {}, headers);
}
HttpAnswer ApiRig::post(const std::string& target, const std::string& body, const std::string& headers) {
  return send("POST", target, body, headers);
}
HttpAnswer ApiRig::put(const std::string& target, const std::string& body, const std::string& headers) {
  return send("PUT", target, body, headers);
}
HttpAnswer ApiRig::patch(const std::string& type, const std::string& target, const std::string& body) {
  const std::string full = type == "apply"       ? "application/apply-patch+yaml"
                           : type == "json"      ? "application/json-patch+json"
                           : type == "strategic" ? "application/strategic-merge-patch+json"
                                                 : "application/merge-patch+json";
  return send("PATCH", target, body, fmt::format("Content-Type: {}\r\n", full));
}
HttpAnswer ApiRig::remove(const std::string& target, const std::string& body) {
  return send("DELETE", target, body, {});
}

namespace {

RigOptions second_options() {
  RigOptions options;
  options.store.sole_writer = false;
  options.server.registry.service_cluster_ips = *host::Cidr::parse("10.96.0.0/16");
  return options;
}

}  // namespace

SecondServer::SecondServer(const std::string& etcd_endpoint)
    : impl_(std::make_unique<Impl>(etcd_endpoint, uint16_t{0}, second_options())) {}
SecondServer::~SecondServer() = default;
uint16_t SecondServer::port() const { return impl_->http->port(); }

}  // namespace keelson::test
