#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "agent/agent.h"
#include "host/log.h"

#ifndef KEELSON_VERSION
#define KEELSON_VERSION "unknown"
#endif

namespace keelson::agent {

using host::log_error;
using host::log_info;
using host::log_warning;
using host::Path;

namespace {

// Who may ask a node of the cluster for logs and the like: the cluster's CA vouches for every
// user and node, and the agent's API is root on the node.
const std::vector<std::string> kMasters = {"system:masters", "system:kube-apiserver", "kube-apiserver-kubelet-client"};

// A PEM that the server wants as a file: the file it came from, or one of ours.
host::Result<std::string> as_file(const std::string& file, const std::string& data, const Path& ours) {
  if (data.empty()) return file;
  if (auto made = host::make_directories(ours.parent_path(), 0700); !made) return std::unexpected(made.error());
  if (auto written = host::write_file_atomically(ours, data, 0600); !written) return std::unexpected(written.error());
  return ours.string();
}

bool is_loopback(const std::string& address) { return address.starts_with("127.") || address == "::1"; }

std::vector<host::Cidr> pod_cidrs_of(const api::Node& node) {
  auto texts = node.spec.pod_cidrs;
  if (texts.empty() && !node.spec.pod_cidr.empty()) texts.push_back(node.spec.pod_cidr);
  std::vector<host::Cidr> result;
  for (const auto& text : texts) {
    if (auto cidr = host::Cidr::parse(text)) result.push_back(*cidr);
  }
  return result;
}

std::string join_texts(const std::vector<host::Cidr>& cidrs) {
  std::vector<std::string> texts;
  for (const auto& cidr : cidrs) texts.push_back(cidr.to_string());
  return fmt::format("{}", fmt::join(texts, ","));
}

}  // namespace

// The node as a member of its cluster: registered as soon as the API server answers.
host::Status Agent::join() {
  facts_ = node::look_at_machine(options_.root_dir);
  if (node_.pod_cidrs.empty()) {
    if (const auto text = host::read_file(Path(options_.root_dir) / "pod-cidr", 1024)) {
      auto kept = host::parse_cidrs(*text);
      if (kept) node_.pod_cidrs = std::move(*kept);
    }
  }
  const auto listen = server::parse_listen(options_.listen);
  node::Settings settings{
      .identity = {.name = node_.name,
                   .addresses = node_.addresses,
                   .labels = node_.labels,
                   .port = listen ? listen->second : 0,
                   .max_pods = options_.max_pods,
                   .version = KEELSON_VERSION},
      .register_node = options_.register_node,
      .status_update = options_.node_status_update_frequency,
      .lease_renew = options_.node_lease_duration / 4,
      .lease_duration = std::chrono::duration_cast<std::chrono::seconds>(options_.node_lease_duration),
      .data = options_.root_dir};
  member_ = node::Node::create(*client_, std::move(settings), facts_, *this);
  return {};
}

// The same API as on loopback, on the address that the Node object names, for the master
// alone. Without a certificate there is none, and no logs through the master.
void Agent::serve_master() {
  const auto listen = server::parse_listen(options_.listen);
  if (!listen || !is_loopback(listen->first) || listen->second == 0) return;  // it serves there already
  const auto& tls = client_->config().tls;
  const Path pki = Path(options_.root_dir) / "pki";
  const auto cannot = [](const std::string& why) {
    log_warning("the master cannot ask this node for logs: {}, ignoring", why);
  };
  const bool given = !options_.tls_cert_file.empty();
  auto certificate = given ? options_.tls_cert_file : as_file(tls.cert_file, tls.cert_data, pki / "node.crt");
  auto key = given ? options_.tls_private_key_file : as_file(tls.key_file, tls.key_data, pki / "node.key");
  auto authority =
      !options_.client_ca_file.empty() ? options_.client_ca_file : as_file(tls.ca_file, tls.ca_data, pki / "ca.crt");
  for (const auto* file : {&certificate, &key, &authority}) {
    if (!*file) return cannot(file->error().message);
  }
  if (certificate->empty() || authority->empty())
    return cannot("there is no certificate for its address (--tls-cert-file, --client-ca-file)");
  const auto& address = node_.addresses.front();
  const auto where =
      fmt::format(fmt::runtime(address.is_v4() ? "{}:{}" : "[{}]:{}"), address.to_string(), listen->second);
  auto server = server::Server::create(*loop_,
                                       {.listen = where,
                                        .tls_cert_file = *certificate,
                                        .tls_private_key_file = *key,
                                        .client_ca_file = *authority,
                                        .admitted = kMasters,
                                        .token_file = Path(options_.root_dir) / "api.token",
                                        .version = KEELSON_VERSION},
                                       {*this, *this, masters_services_, *this}, metrics_);
  if (!server) return cannot(server.error().message);
  masters_server_ = std::move(*server);
  log_info("serving the master on {}", where);
}

// ---- node → agent ------------------------------------------------------------------------

node::Report Agent::report() {
  node::Report report;
  if (draining_) report.not_ready.emplace_back("the node is drained");
  if (!has_rooms()) {
    report.no_network = "no pod CIDR has been assigned to this node";
    return report;
  }
  if (!recovered_) report.not_ready.emplace_back("pods of before are being recovered");
  report.images = images_->list();
  return report;
}

void Agent::own_node(const api::Node& node) {
  const bool another = !own_node_ || own_node_->metadata.uid != node.metadata.uid;
  own_node_ = node;
  take_pod_cidrs(node);
  if (pods_) pods_->set_node(node.metadata.labels, node.spec.taints);
  if (another && has_rooms()) apply();  // mirror Pods are the Node's
}

// The first that is said is taken, and kept for the next start. Another one, later, would
// take the Pods' addresses from under them.
void Agent::take_pod_cidrs(const api::Node& node) {
  const auto said = pod_cidrs_of(node);
  if (said.empty()) return;
  const auto keep = [&] {
    if (auto kept = host::write_file_atomically(Path(options_.root_dir) / "pod-cidr", join_texts(said)); !kept)
      log_warning("{}: waiting for the master at the next start, ignoring", kept.error().message);
  };
  if (has_rooms()) {
    const bool differs = said != node_.pod_cidrs;
    if (!differs) {
      if (options_.pod_cidr.empty()) keep();
      pod_cidr_problem_.clear();
      return;
    }
    auto problem = fmt::format("its spec.podCIDRs say {}, but this agent's pods have addresses of {}: {}",
                               join_texts(said), join_texts(node_.pod_cidrs),
                               options_.pod_cidr.empty() ? "restart it" : "give the same as --pod-cidr");
    if (problem != pod_cidr_problem_) log_error("node {}: {}", node_.name, problem);
    pod_cidr_problem_ = std::move(problem);
    if (options_.pod_cidr.empty()) keep();
    return;
  }
  log_info("node {}: its pod CIDR is {}", node_.name, join_texts(said));
  node_.pod_cidrs = said;
  keep();
  if (auto started = start_rooms(); !started) {
    // As a flag that cannot work: the service manager tries again.
    log_error("{}", started.error().message);
    exit_code_ = 1;
    loop_->stop();
    return;
  }
  member_->touch();
}

void Agent::other_nodes(const std::vector<std::shared_ptr<const api::Node>>& nodes) {
  peers_.clear();
  for (const auto& node : nodes) {
    network::Peer peer{.name = node->metadata.name, .pod_cidrs = pod_cidrs_of(*node), .addresses = {}};
    for (const auto& address : node->status.addresses) {
      if (address.type != "InternalIP") continue;
      if (auto parsed = host::IpAddress::parse(address.address)) peer.addresses.push_back(*parsed);
    }
    if (!peer.pod_cidrs.empty() && !peer.addresses.empty()) peers_.push_back(std::move(peer));
  }
  peers_known_ = true;
  if (network_ && !draining_) network_->set_peers(peers_);
}

// ---- cluster → agent -----------------------------------------------------------------------

void Agent::manifests(cluster::Manifests manifests) {
  sources::DocumentSet set;
  for (auto& [name, text] : manifests) {
    auto& known = documents_[name];
    if (!known || known->text != *text)
      known = std::make_shared<const sources::Document>(sources::Document{.name = name, .text = *text, .failure = {}});
    set.emplace_hint(set.end(), name, known);
  }
  std::erase_if(documents_, [&](const auto& entry) { return !manifests.contains(entry.first); });
  sources_->api_server_spoke(std::move(set));
}

void Agent::services_changed() {
  services_due_ = true;
  apply();
}

}  // namespace keelson::agent
