#pragma once
// The agent's API from keelsonctl's side, on cpprestsdk, whose exceptions end here.
// Blocking, one request after the other.

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "host/error.h"
#include "host/file.h"

namespace keelson::ctl {

struct AgentOptions {
  std::string url = "http://127.0.0.1:10250";
  host::Path root_dir = "/var/lib/keelson";  // its api.token is shown to the agent
  std::string ca_file, cert_file, key_file;
  std::string agent_cert_file;  // if given: the agent has to show this certificate, whatever names it has
};

struct ExecRequest {
  std::string namespace_, pod, container;
  std::vector<std::string> command;
  bool use_stdin = false, tty = false;
};

class AgentClient {
 public:
  // Invalid: a URL that is none; a client certificate without its key. The token may be
  // missing: the agent decides what it then answers.
  static host::Result<AgentClient> create(AgentOptions options);
  AgentClient(AgentClient&&) noexcept;
  ~AgentClient();

  // The body of a success; what the agent said otherwise, with its problems.
  host::Result<std::string> get(const std::string& path);
  host::Result<std::string> send(const std::string& method, const std::string& path, const std::string& body);
  // Hands on what comes, as it comes, until the end.
  host::Status stream(const std::string& path, const std::function<void(std::string_view)>& sink);
  // Our stdin, stdout and stderr for the command's. Its exit code.
  host::Result<int> exec(const ExecRequest& request);

 private:
  struct Impl;
  explicit AgentClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// What an answer that is no success says to the user: the Status object's message and
// causes, or the body. Pure.
host::Error error_of_answer(int status, const std::string& body);
// The exit code in the Status object that ends an exec, or its failure. Pure.
host::Result<int> exit_code_of(const std::string& status_json);

}  // namespace keelson::ctl
