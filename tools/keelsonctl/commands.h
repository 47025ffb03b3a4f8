#pragma once
// keelsonctl's verbs. Each prints its result on stdout, what went wrong on stderr, and
// returns the exit code: 0 done, 1 failed, 2 usage (exec: the command's own).

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tools/keelsonctl/agent_client.h"
#include "tools/keelsonctl/lists.h"
#include "tools/keelsonctl/this_agent.h"

namespace keelson::ctl {

struct Scope {
  std::string namespace_;  // -n; "" when it is not given, which means "default"
  bool all = false;        // -A
};

struct LogRequest {
  std::string pod;  // "name" or "namespace/name"
  std::string container;
  bool follow = false, previous = false, timestamps = false;
  std::optional<int64_t> tail;
  std::string since;  // "10m"
};

int show_pods(const AgentOptions& agent, const Scope& scope, const std::vector<std::string>& names, Format format);
int show_services(const AgentOptions& agent, const Scope& scope, Format format);
int show_backends(const AgentOptions& agent, const Scope& scope, Format format);
// Of all namespaces, and of no Service at all, unless -n says otherwise.
int show_flows(const AgentOptions& agent, const Scope& scope, bool follow, Format format);
int show_status(const AgentOptions& agent, Format format);
int show_logs(const AgentOptions& agent, const Scope& scope, const LogRequest& request);
// `request.pod` may be "namespace/name"; an empty container means the default one.
int run_exec(const AgentOptions& agent, const Scope& scope, ExecRequest request);
int drain(const AgentOptions& agent);
// -n is for objects that name no namespace; one that names another is refused.
int apply(const AgentOptions& agent, const Scope& scope, const std::vector<std::string>& paths);
int remove(const AgentOptions& agent, const Scope& scope, const std::vector<std::string>& paths);

int list_images(const AgentOptions& agent, Format format);
int import_image(const AgentOptions& agent, const std::string& file, const std::string& name);
int pull_image(const AgentOptions& agent, const std::string& reference, const std::vector<std::string>& insecure,
               const std::string& ca_file);
int remove_images(const AgentOptions& agent, const std::vector<std::string>& references, bool force);
int prune_images(const AgentOptions& agent, bool force);

int validate(const std::vector<std::string>& paths, bool quiet);
// For an agent with these flags, and the configuration file for those that are not given.
int run_doctor(const Given& given, const std::vector<std::string>& agent_flags, Format format);

// "90s", "10m", "1h30m", "2d" in seconds.
host::Result<int64_t> parse_since(const std::string& text);

}  // namespace keelson::ctl
