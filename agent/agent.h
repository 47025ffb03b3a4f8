#pragma once
// The agent: owns the rooms, and is what each of them sees of the others. Only wiring; by
// noun in agent.cpp (start and drain), agent_state.cpp (what is wanted, from the sources to
// the pods and the proxy), agent_cluster.cpp (what the API server hears and says) and
// agent_inside.cpp (what its HTTP API shows).
//
// In a cluster the pod CIDR may be the master's to give: until then the node is registered
// and its API answers, and nothing else is there. The last one is kept in
// <root-dir>/pod-cidr, so that a start with no master goes on with it.

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "agent/cluster/cluster.h"
#include "agent/described_node.h"
#include "agent/images/store.h"
#include "agent/network/pod_network.h"
#include "agent/node/node.h"
#include "agent/options.h"
#include "agent/pods/pods.h"
#include "agent/proxy/proxy.h"
#include "agent/runtime/runtime.h"
#include "agent/server/server.h"
#include "agent/sources/sources.h"
#include "host/loop.h"
#include "host/metrics.h"

namespace keelson::agent {

class Agent : private pods::PodsListener,
              private api::PodRuntimeEvents,
              private node::NodeListener,
              private cluster::ClusterListener,
              private server::PodView,
              private server::ManifestInbox,
              private server::ServiceView,
              private server::NodeView {
 public:
  Agent(Options options, DescribedNode node) : options_(std::move(options)), node_(std::move(node)) {}

  // Whether the flags can work at all. Before start(), which already makes things on the host.
  host::Status check() const;
  host::Status start();
  int run();  // the exit code

 private:
  // --- start and drain
  host::Status join();
  host::Status start_rooms();
  host::Status start_sources();
  host::Status serve();
  void serve_master();
  images::InUse images_in_use() const;
  void take_down();
  void finish_drain(host::Status status);

  // --- desired state
  void recovered(host::Result<std::vector<api::RecoveredPod>> pods);
  void apply();
  void apply_services(const api::DesiredState& state);

  // --- PodsListener
  void pod_changed(const api::Pod& pod) override;
  void pod_removed(const std::string& namespace_, const std::string& name) override;
  void sandbox_started(const std::string& uid, const api::Sandbox& sandbox,
                       const std::vector<std::string>& ips) override;
  void sandbox_gone(const std::string& uid) override { proxy_->unregister_netns(uid); }
  void pod_noted(const api::Pod& pod, const pods::Note& note) override;

  // --- PodRuntimeEvents, on their way to pods_
  void container_exited(const api::ExitRecord& record) override { pods_->container_exited(record); }
  void sandbox_lost(const std::string& uid, const std::string& reason) override { pods_->sandbox_lost(uid, reason); }

  // --- NodeListener
  node::Report report() override;
  void own_node(const api::Node& node) override;
  void other_nodes(const std::vector<std::shared_ptr<const api::Node>>& nodes) override;
  void take_pod_cidrs(const api::Node& node);

  // --- ClusterListener
  void manifests(cluster::Manifests manifests) override;
  void services_changed() override;
  void slice_changed(const api::EndpointSlice& slice) override {
    if (has_proxy()) proxy_->set_slice(slice);
  }
  void slice_removed(const std::string& namespace_, const std::string& name) override {
    if (has_proxy()) proxy_->remove_slice(namespace_, name);
  }
  void unreachable(const host::Error& error) override { sources_->api_server_failed(error); }

  // --- server::PodView
  std::vector<api::Pod> list() override;
  std::optional<api::Pod> find(const std::string& namespace_, const std::string& name) override;
  host::Result<host::Path> log_file(const api::Pod& pod, const std::string& container, bool previous) override;
  void exec(const api::Pod& pod, const std::string& container, api::ExecSpec spec, api::Callback<int> done) override;

  // --- server::ManifestInbox
  void store(server::PushOrder order,
             std::move_only_function<void(std::expected<server::PushReceipt, server::PushRefusal>)> done) override;
  void remove(const api::ObjectKey& key, api::StatusCallback done) override;

  // --- server::ServiceView
  std::vector<api::Service> services() override;
  std::vector<server::Backend> backends() override;
  std::vector<server::Flow> flows(uint64_t after) override;
  void on_flows(std::function<void()> listener) override;

  // --- server::NodeView
  server::NodeStatus status() override;
  std::vector<api::ImageInfo> images() override;
  void drain(api::StatusCallback done) override;
  std::string not_ready() override;
  std::vector<api::Problem> problems() const;
  void refresh_metrics();

  // The rooms that the Pods need: false while the pod CIDR is awaited.
  bool has_rooms() const { return sources_ != nullptr; }
  bool has_proxy() const { return proxy_ != nullptr && !drained_; }

  // What the master is served on the node's own address: all but the stream of flows, which
  // has one listener.
  struct MastersServices : server::ServiceView {
    explicit MastersServices(Agent& agent) : agent(agent) {}
    std::vector<api::Service> services() override { return agent.services(); }
    std::vector<server::Backend> backends() override { return agent.backends(); }
    std::vector<server::Flow> flows(uint64_t after) override { return agent.flows(after); }
    void on_flows(std::function<void()>) override {}
    Agent& agent;
  };

  const Options options_;
  DescribedNode node_;
  const int64_t started_at_ =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();

  host::Fd lock_;
  host::Metrics metrics_;
  std::unique_ptr<host::Loop> loop_ = host::Loop::create(2);
  std::unique_ptr<apiclient::Client> client_;  // in a cluster
  std::unique_ptr<network::PodNet> network_;
  std::unique_ptr<proxy::Proxy> proxy_;
  std::unique_ptr<images::Store> images_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::unique_ptr<pods::Pods> pods_;
  std::unique_ptr<sources::Sources> sources_;
  std::unique_ptr<cluster::Cluster> cluster_;  // in a cluster
  std::unique_ptr<node::Node> member_;         // likewise
  MastersServices masters_services_{*this};
  std::unique_ptr<server::Server> masters_server_;
  std::unique_ptr<server::Server> server_;

  node::Facts facts_;  // in a cluster
  std::optional<api::Node> own_node_;
  std::vector<network::Peer> peers_;
  bool peers_known_ = false;
  sources::DocumentSet documents_;  // of the API server's manifests
  bool services_due_ = true;
  std::string pod_cidr_problem_;
  std::vector<api::Service> file_services_;  // in a cluster: those of the manifests, as set last
  std::vector<api::Endpoints> file_endpoints_;

  // What ran before this agent did, by source: kept until that source has spoken.
  std::vector<api::Desired<api::Pod>> unheard_;
  host::Timer trim_timer_;
  std::function<void()> flows_listener_;
  bool recovered_ = false;
  bool proxy_synced_ = false, cluster_told_ = false;
  bool draining_ = false;
  bool drained_ = false;
  int exit_code_ = 0;
  std::vector<api::StatusCallback> drain_callbacks_;
};

}  // namespace keelson::agent
