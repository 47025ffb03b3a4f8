#include "tools/keelsonctl/this_agent.h"

#include <fmt/core.h>

namespace keelson::ctl {

namespace {

// An agent that listens everywhere is asked over loopback.
std::string host_to_ask(const std::string& address) {
  if (address == "0.0.0.0") return "127.0.0.1";
  if (address == "[::]") return "[::1]";
  return address;
}

}  // namespace

AgentOptions agent_of(const agent::Options& options, const Given& given) {
  const bool tls = !options.tls_cert_file.empty();
  AgentOptions result;
  const auto colon = options.listen.rfind(':');
  result.url = fmt::format("{}://{}{}", tls ? "https" : "http", host_to_ask(options.listen.substr(0, colon)),
                           colon == std::string::npos ? "" : options.listen.substr(colon));
  result.root_dir = options.root_dir;
  if (tls && given.url.empty() && given.ca_file.empty()) result.agent_cert_file = options.tls_cert_file;
  if (!given.url.empty()) result.url = given.url;
  if (!given.root_dir.empty()) result.root_dir = given.root_dir;
  result.ca_file = given.ca_file;
  result.cert_file = given.cert_file;
  result.key_file = given.key_file;
  return result;
}

host::Result<agent::Options> read_configuration(const std::string& file, bool named) {
  if (file.empty()) return agent::Options();
  auto options = agent::read_options(file);
  if (options || named) return options;
  const auto code = options.error().code;
  if (code != host::Error::Code::not_found && code != host::Error::Code::denied) {
    fmt::print(stderr, "keelsonctl: {}, ignoring\n", options.error().message);
  }
  return agent::Options();
}

}  // namespace keelson::ctl
