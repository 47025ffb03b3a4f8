#pragma once
// This machine as a member of a cluster: its Node object, registered or adopted and kept
// up to date; its Lease in kube-node-lease, by which the master knows that it lives; and
// all other Nodes, as far as this one must know them.
//
// Owner: main. Loop's thread; the machine is looked at on a worker. While the API server is
// away everything is tried again, and what the master said last stands.

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agent/node/node_object.h"
#include "apiclient/client.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::node {

struct Settings {
  Identity identity;
  bool register_node = true;                                // false: it is there already, or somebody else makes it
  host::Duration status_update = std::chrono::seconds(10);  // between two looks at the machine
  host::Duration status_report = std::chrono::minutes(5);   // at the latest, also when nothing has changed
  host::Duration lease_renew = std::chrono::seconds(10);
  std::chrono::seconds lease_duration{40};
  host::Path data;  // where images and volumes live
};

// What the rest of the agent says of itself at a moment.
struct Report {
  std::vector<std::string> not_ready;  // why no Pod should come here
  std::string no_network;
  std::vector<api::ImageInfo> images;
};

// Called on the loop's thread, later.
class NodeListener {
 public:
  virtual ~NodeListener() = default;
  virtual Report report() = 0;
  // Our own Node as the API has it, whenever its spec, labels or uid differ.
  virtual void own_node(const api::Node& node) = 0;
  // All others, whenever their pod CIDRs or addresses differ.
  virtual void other_nodes(const std::vector<std::shared_ptr<const api::Node>>& nodes) = 0;
};

class Node {
 public:
  // The client and the listener must outlive it.
  static std::unique_ptr<Node> create(apiclient::Client& client, Settings settings, Facts facts,
                                      NodeListener& listener);
  ~Node();

  // Something of report() has changed: it is told at once, and not with the next look.
  void touch();

 private:
  struct Impl;
  explicit Node(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;  // shared with workers' answers, which may come after we are gone
};

}  // namespace keelson::node
