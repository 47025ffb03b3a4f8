#include "agent/agent.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "agent/network/names.h"
#include "host/log.h"
#include "host/service_manager.h"
#include "http/message.h"

#ifndef KEELSON_VERSION
#define KEELSON_VERSION "unknown"
#endif

namespace keelson::agent {

using host::log_error;
using host::log_info;
using host::log_warning;
using host::Path;

namespace {

// One agent per run directory, for as long as the descriptor lives.
host::Result<host::Fd> lock_run_directory(const Path& run_dir) {
  if (auto made = host::make_directories(run_dir, 0700); !made) return std::unexpected(made.error());
  auto file = host::open_file(run_dir / "agent.lock", O_RDWR | O_CREAT, 0600);
  if (!file) return file;
  if (::flock(file->get(), LOCK_EX | LOCK_NB) != 0) {
    return host::fail(host::Error::Code::exists,
                      fmt::format("another keelson-agent runs with --run-dir {}", run_dir.string()));
  }
  return file;
}

// What the listener of the agent's own HTTP API is.
server::Options server_options(const Options& options) {
  return {.listen = options.listen,
          .tls_cert_file = options.tls_cert_file,
          .tls_private_key_file = options.tls_private_key_file,
          .client_ca_file = options.client_ca_file,
          .admitted = {},
          .token_file = Path(options.root_dir) / "api.token",
          .version = KEELSON_VERSION};
}

}  // namespace

host::Status Agent::check() const {
  if (auto checked = server::Server::check(server_options(options_)); !checked) return checked;
  if (!options_.manifest_url.empty()) {
    if (auto url = http::parse_url(options_.manifest_url); !url) {
      return std::unexpected(std::move(url.error()).within("--manifest-url"));
    }
  }
  for (const auto& text : options_.manifest_url_headers) {
    if (auto header = sources::parse_url_header(text); !header) {
      return std::unexpected(std::move(header.error()).within("--manifest-url-header"));
    }
  }
  return {};
}

host::Status Agent::start() {
  if (in_cluster(options_)) {
    auto config = describe_api_server(options_);
    if (!config) return std::unexpected(std::move(config.error()));
    auto client = apiclient::Client::create(*loop_, std::move(*config));
    if (!client) return std::unexpected(std::move(client.error()).within("API server"));
    client_ = std::move(*client);
  }
  auto lock = lock_run_directory(options_.run_dir);
  if (!lock) return std::unexpected(lock.error());
  lock_ = std::move(*lock);
  if (auto made = host::make_directories(options_.root_dir, 0700); !made) return made;
  const auto in_force = Path(options_.run_dir) / "agent.yaml";
  if (auto written = host::write_file_atomically(in_force, configuration_in_force(options_)); !written) return written;

  ::signal(SIGPIPE, SIG_IGN);
  loop_->on_signal(SIGTERM, [this] { loop_->stop(); });
  loop_->on_signal(SIGINT, [this] { loop_->stop(); });
  loop_->on_signal(SIGHUP, [this] {
    if (auto reloaded = server_ ? server_->reload_tls() : host::Status(); !reloaded) {
      log_warning("reload TLS files: {}, keeping the old ones", reloaded.error().message);
    }
  });

  if (client_) {
    if (auto joined = join(); !joined) return joined;
  }
  if (!node_.pod_cidrs.empty()) {
    if (auto started = start_rooms(); !started) return started;
  } else {
    log_info("node {}: waiting for a pod CIDR in its Node's spec", node_.name);
  }
  return serve();
}

int Agent::run() {
  loop_->run();
  return exit_code_;
}

// What the Pods need, in the order in which each needs those before it.
host::Status Agent::start_rooms() {
  // The network first: its unreachable routes keep a missed translation on the node.
  auto network = network::PodNet::create(*loop_, {.pod_cidrs = node_.pod_cidrs,
                                                  .service_cidrs = node_.service_cidrs,
                                                  .run_dir = options_.run_dir,
                                                  .instance = network::instance_of(options_.run_dir)});
  if (!network) return std::unexpected(std::move(network.error()));
  network_ = std::move(*network);

  auto proxy = proxy::Proxy::create(*loop_, {.bpffs = options_.bpffs,
                                             .cgroup_root = node_.cgroup_root,
                                             .allocations_file = Path(options_.root_dir) / "service-allocations.txt",
                                             .node_name = node_.name,
                                             .node_addresses = node_.addresses,
                                             .pod_cidrs = node_.pod_cidrs,
                                             .service_cidrs = node_.service_cidrs,
                                             .first_node_port = node_.first_node_port,
                                             .last_node_port = node_.last_node_port,
                                             .cable_prefix = network_->interface_prefix()});
  if (!proxy) return std::unexpected(std::move(proxy.error()).within("service proxy"));
  proxy_ = std::move(*proxy);
  if (flows_listener_) proxy_->on_flows(flows_listener_);

  auto images = images::Store::create(*loop_, Path(options_.root_dir) / "images",
                                      {.insecure_registries = options_.insecure_registries,
                                       .ca_file = options_.registry_ca_file,
                                       .in_use = [this] { return images_in_use(); }});
  if (!images) return std::unexpected(std::move(images.error()).within("image store"));
  images_ = std::move(*images);

  const Path shim = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "podshim";
  auto runtime = runtime::Runtime::create(*loop_,
                                          {.root_dir = options_.root_dir,
                                           .run_dir = options_.run_dir,
                                           .shim = shim,
                                           .cgroup_root = node_.cgroup_root,
                                           .pod_cgroup = node_.pod_cgroup},
                                          *this);
  if (!runtime) return std::unexpected(std::move(runtime.error()).within("runtime"));
  runtime_ = std::move(*runtime);

  pods::Settings pod_settings;
  pod_settings.root_dir = options_.root_dir;
  pod_settings.run_dir = options_.run_dir;
  pod_settings.node.name = node_.name;
  pod_settings.node.ips = node_.ips;
  if (client_) {
    pod_settings.node.cpu_milli = facts_.cpus * 1000;
    pod_settings.node.memory_bytes = node::allocatable_memory(facts_);
    pod_settings.node.pods = options_.max_pods;
  }
  pods_ = pods::Pods::create(*loop_, std::move(pod_settings), {*runtime_, *images_, *network_}, *this);
  return start_sources();
}

host::Status Agent::start_sources() {
  // With an etcd of its own the node has its Pods from there, whoever is told how they are.
  const bool from_api = client_ && options_.etcd_servers.empty();
  sources::Settings source_settings{.node_name = node_.name,
                                    .root_dir = options_.root_dir,
                                    .manifest_path = options_.pod_manifest_path,
                                    .file_check = options_.file_check_frequency,
                                    .manifest_url = options_.manifest_url,
                                    .http_check = options_.http_check_frequency,
                                    .etcd_servers = options_.etcd_servers,
                                    .etcd_prefix = options_.etcd_prefix,
                                    .etcd_ca_file = options_.etcd_cafile,
                                    .etcd_cert_file = options_.etcd_certfile,
                                    .etcd_key_file = options_.etcd_keyfile,
                                    .api_server = client_ ? client_->config().server : std::string(),
                                    .policy = node_.policy,
                                    .metrics = &metrics_};
  for (const auto& text : options_.manifest_url_headers) {
    auto header = sources::parse_url_header(text);
    if (!header) return std::unexpected(std::move(header.error()).within("--manifest-url-header"));
    source_settings.manifest_url_headers.push_back(*header);
  }
  auto sources =
      sources::Sources::create(*loop_, std::move(source_settings), [this](const api::DesiredState&) { apply(); });
  if (!sources) return std::unexpected(sources.error());
  sources_ = std::move(*sources);

  if (client_) {
    cluster_ = cluster::Cluster::create(*client_, {.node_name = node_.name, .pods = from_api}, *this);
    cluster_->node_noted(false, "Starting", "Starting kubelet.");
    if (own_node_) pods_->set_node(own_node_->metadata.labels, own_node_->spec.taints);
    if (peers_known_) network_->set_peers(peers_);
  }
  // Only now: what it finds goes to the rooms above.
  runtime_->recover([this](auto found) { recovered(std::move(found)); });
  return {};
}

host::Status Agent::serve() {
  metrics_.on_render([this] { refresh_metrics(); });
  auto server = server::Server::create(*loop_, server_options(options_), {*this, *this, *this, *this}, metrics_);
  if (!server) return std::unexpected(server.error());
  server_ = std::move(*server);
  if (client_) serve_master();
  log_info("node {} ({}): serving on {}", node_.name, fmt::join(node_.ips, ", "), options_.listen);
  if (const char* manager = ::getenv("NOTIFY_SOCKET"); manager != nullptr) {
    if (auto told = host::notify_service_manager(manager, "READY=1"); !told) {
      log_warning("{}, ignoring", told.error().message);
    }
  }
  return {};
}

// What garbage collection must leave: the images of every Pod that is wanted here.
images::InUse Agent::images_in_use() const {
  images::InUse result;
  if (!pods_) return result;
  for (const auto& pod : pods_->list()) {
    for (const auto* containers : {&pod.spec.init_containers, &pod.spec.containers}) {
      for (const auto& container : *containers) result.insert(container.image);
    }
    // What runs may have lost its name to a newer image.
    for (const auto* statuses : {&pod.status.init_container_statuses, &pod.status.container_statuses}) {
      for (const auto& status : *statuses) result.insert(status.image_id);
    }
  }
  return result;
}

// ---- drain -----------------------------------------------------------------------------------

void Agent::drain(api::StatusCallback done) {
  drain_callbacks_.push_back(std::move(done));
  if (drained_) {
    loop_->post([this] { finish_drain({}); });
    return;
  }
  if (draining_) return;
  draining_ = true;
  if (member_) member_->touch();
  if (!has_rooms()) {
    drained_ = true;
    loop_->post([this] { finish_drain({}); });
    return;
  }
  log_info("draining: stopping every pod; the sources are ignored until the next start");
  pods_->stop_all([this] { take_down(); });
}

void Agent::take_down() {
  network_->teardown([this](host::Status network) {
    auto proxy = proxy_->teardown();
    drained_ = true;
    runtime_->drained([this, network = std::move(network), proxy = std::move(proxy)](host::Status runtime) {
      std::vector<std::string> failures;
      for (const host::Status& status : {network, proxy, runtime}) {
        if (!status) failures.push_back(status.error().message);
      }
      if (failures.empty()) {
        log_info("drained");
        finish_drain({});
      } else {
        log_error("drain: {}", fmt::join(failures, "; "));
        finish_drain(host::fail(fmt::format("{}", fmt::join(failures, "; "))));
      }
    });
  });
}

void Agent::finish_drain(host::Status status) {
  for (auto& done : std::exchange(drain_callbacks_, {})) done(status);
}

}  // namespace keelson::agent
