#pragma once
// What the agent's HTTP API asks of the other rooms; main hands the answers in.
//
// All on the loop's thread. Callbacks run on it, later, exactly once. The tests'
// doubles are in test/unit/agent/server/doubles.h.

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/cri.h"
#include "api/object.h"
#include "host/error.h"
#include "host/file.h"

namespace keelson::server {

class PodView {
 public:
  virtual ~PodView() = default;
  // With their statuses.
  virtual std::vector<api::Pod> list() = 0;
  virtual std::optional<api::Pod> find(const std::string& namespace_, const std::string& name) = 0;
  // The CRI log file of the container's latest attempt, or of the one before it. Rotated
  // files stand beside it as <file>.1 (the newest) to <file>.N. not_found when there has
  // been no such attempt.
  virtual host::Result<host::Path> log_file(const api::Pod& pod, const std::string& container, bool previous) = 0;
  // In a running container; `done` has the wait status.
  virtual void exec(const api::Pod& pod, const std::string& container, api::ExecSpec spec, api::Callback<int> done) = 0;
};

struct PushOrder {
  std::string manifest;  // YAML or JSON, several documents or a List
  bool replace = false;  // false: an object that was pushed before is an error (exists)
  // When set, the manifest must hold this object and nothing else.
  std::optional<api::ObjectKey> only;
};
struct PushReceipt {
  std::vector<api::ObjectKey> keys;
  std::vector<api::Problem> warnings;
};
struct PushRefusal {
  host::Error error;  // its code decides the HTTP status
  std::vector<api::Problem> problems;
};

// What is pushed; on disk before the callback runs.
class ManifestInbox {
 public:
  virtual ~ManifestInbox() = default;
  virtual void store(PushOrder order, std::move_only_function<void(std::expected<PushReceipt, PushRefusal>)> done) = 0;
  // not_found when it was not pushed.
  virtual void remove(const api::ObjectKey& key, api::StatusCallback done) = 0;
};

// One address behind one or more virtual addresses of a Service's port.
struct Backend {
  std::string service;                 // "default/web"
  std::string port;                    // its name, or number
  std::string protocol;                // "TCP", "UDP"
  std::vector<std::string> frontends;  // "10.96.0.7:80", "*:30080"
  std::string address;                 // "10.244.0.5:8080"; empty: none, connections are refused
  std::string pod;                     // "" when it comes from an Endpoints object
  std::string state;                   // "ready", "terminating", "draining", "none"
};

// A sampled decision of the data plane.
struct Flow {
  uint64_t number = 0;   // counts on without a gap
  int64_t time_us = 0;   // since the epoch
  std::string protocol;  // "TCP", "UDP"
  std::string source;    // address:port, as far as known
  std::string frontend;  // the virtual address
  std::string backend;   // "" when it was refused
  std::string service;   // "default/web"
  std::string verdict;   // "forwarded", or the named reason of the refusal
  std::string path;      // "socket", "node-port", …
};

class ServiceView {
 public:
  virtual ~ServiceView() = default;
  // With the addresses and ports that they were given.
  virtual std::vector<api::Service> services() = 0;
  virtual std::vector<Backend> backends() = 0;
  // The latest sampled flows past that number, oldest first.
  virtual std::vector<Flow> flows(uint64_t after) = 0;
  // Called when there are more of them. One listener; null for none.
  virtual void on_flows(std::function<void()> listener) = 0;
};

struct SourceStatus {
  std::string name;        // "file", "url", …
  std::string location;    // path, URL, servers
  std::string policy;      // "privileged", "baseline", "restricted"
  bool heard = false;      // it has spoken since the agent started
  std::string last_error;  // of its last attempt; "" when that went well
  int64_t objects = 0;
};

struct NodeStatus {
  std::string node_name, node_ip, kernel, boot_id;
  int64_t started_at = 0;  // seconds since the epoch
  bool draining = false;
  std::vector<SourceStatus> sources;
  std::vector<api::Problem> problems;
  std::vector<std::string> notices;                     // what this host cannot do, said once
  std::vector<std::pair<std::string, int64_t>> counts;  // "pods", "podsReady", "services", "backends", …
};

class NodeView {
 public:
  virtual ~NodeView() = default;
  virtual NodeStatus status() = 0;
  virtual std::vector<api::ImageInfo> images() = 0;
  // Stops all pods and removes what the agent made; done when that is so.
  virtual void drain(api::StatusCallback done) = 0;
  // Why the node is not ready to serve yet; empty when it is.
  virtual std::string not_ready() = 0;
};

}  // namespace keelson::server
