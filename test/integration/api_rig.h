#pragma once
// A real API server for tests: Debian's etcd on a unix socket in a directory of its own,
// and store and ApiServer over it on a loopback port, everybody allowed everything. The
// server's loop runs on a thread of its own, so that a test may block.
//
//   ApiRig rig;
//   auto pod = rig.post("/api/v1/namespaces/default/pods", kPod);   // {201, "{…}"}

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "host/file.h"
#include "host/loop.h"
#include "host/process.h"
#include "http/server.h"
#include "master/apiserver/apiserver.h"

namespace keelson::test {

struct HttpAnswer {
  int status = 0;
  std::string headers;
  std::string body;
  // A value of the body by JSON pointer: strings without quotes, objects as JSON; "" when absent.
  std::string operator[](std::string_view pointer) const;
};
std::string json_at(const std::string& json, std::string_view pointer);
// With its first `from`, which must be there, as `to`.
std::string replaced(std::string text, std::string_view from, std::string_view to);

// One connection, kept alive; blocking. Plain HTTP/1.1, written out, so that nothing but
// what is meant is sent.
class HttpClient {
 public:
  explicit HttpClient(uint16_t port, std::chrono::milliseconds patience = std::chrono::seconds(20));
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  HttpAnswer request(const std::string& method, const std::string& target, const std::string& body = {},
                     const std::string& headers = {});
  // Of a stream: sends, reads the head, and then line by line; nothing at its end.
  HttpAnswer open(const std::string& target, const std::string& headers = {});
  std::optional<std::string> line(std::chrono::milliseconds patience = std::chrono::seconds(10));
  int fd() const { return fd_; }

 private:
  bool fill(std::chrono::milliseconds patience);
  std::string until(std::string_view mark);
  std::string take(size_t count);

  int fd_ = -1;
  std::chrono::milliseconds patience_;
  std::string buffer_, lines_;
  bool ended_ = false;
};

struct RigOptions {
  apiserver::StoreOptions store;
  apiserver::ApiServerOptions server;
  bool namespaces = true;  // default, made at start
};

class ApiRig {
 public:
  using Options = RigOptions;
  explicit ApiRig(Options options = {});
  ~ApiRig();

  uint16_t port() const { return port_; }
  std::string url() const;
  int etcd_pid() const { return etcd_ ? etcd_->identity.pid : 0; }
  double server_cpu_seconds() const;  // of the loop's thread
  const host::Path& directory() const { return directory_; }
  std::string etcd_endpoint() const { return "unix://" + (directory_ / "client.sock:0").string(); }

  HttpAnswer get(const std::string& target, const std::string& headers = {});
  HttpAnswer post(const std::string& target, const std::string& body, const std::string& headers = {});
  HttpAnswer put(const std::string& target, const std::string& body, const std::string& headers = {});
  HttpAnswer patch(const std::string& type, const std::string& target, const std::string& body);  // "merge", …
  HttpAnswer remove(const std::string& target, const std::string& body = {});

  // The master dies and comes back on the same etcd; etcd does.
  void restart_server();
  void kill_etcd();
  void start_etcd();
  host::Output etcdctl(const std::vector<std::string>& arguments);
  // On the loop's thread, to the end.
  void on_loop(const std::function<void()>& task);
  apiserver::Store& store();

 private:
  struct Server;
  void start_server();
  void stop_server();
  HttpAnswer send(const std::string& method, const std::string& target, const std::string& body,
                  const std::string& headers);

  Options options_;
  host::Path directory_;
  std::optional<host::Child> etcd_;
  uint16_t port_ = 0;
  std::unique_ptr<Server> server_;
  std::unique_ptr<HttpClient> client_;
};

// Another master over the same etcd.
class SecondServer {
 public:
  explicit SecondServer(const std::string& etcd_endpoint);
  ~SecondServer();
  uint16_t port() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::test
