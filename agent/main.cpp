// keelson-agent: makes the rooms, hands them to each other, runs the loop. The only file
// that knows every room.

#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <malloc.h>
#include <netdb.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <set>

#include "agent/images/store.h"
#include "agent/network/names.h"
#include "agent/network/pod_network.h"
#include "agent/options.h"
#include "agent/pods/pods.h"
#include "agent/proxy/proxy.h"
#include "agent/runtime/runtime.h"
#include "agent/server/server.h"
#include "agent/sources/sources.h"
#include "api/codec.h"
#include "host/cgroup.h"
#include "host/log.h"
#include "host/metrics.h"
#include "host/netlink.h"
#include "host/process.h"
#include "host/service_manager.h"

namespace keelson::agent {

namespace {

using host::log_error;
using host::log_info;
using host::log_warning;
using host::Path;

// What the flags leave to be found out, and what they say in words.
struct Node {
  std::string name;
  std::vector<std::string> ips;  // primary first
  std::vector<host::IpAddress> addresses;
  std::vector<host::Cidr> pod_cidrs, service_cidrs;
  uint16_t first_node_port = 0, last_node_port = 0;
  Path cgroup_root, pod_cgroup;
  sources::SourcePolicy policy;
};

host::Result<std::string> find_node_name(const Options& options) {
  if (!options.hostname_override.empty()) return options.hostname_override;
  std::array<char, 256> short_name{};
  if (::gethostname(short_name.data(), short_name.size() - 1) != 0) return host::sys_fail("gethostname");
  // What `hostname -f` prints; without a resolver's answer the short name must do.
  addrinfo hints{};
  hints.ai_flags = AI_CANONNAME;
  addrinfo* found = nullptr;
  std::string name = short_name.data();
  if (::getaddrinfo(short_name.data(), nullptr, &hints, &found) == 0) {
    if (found->ai_canonname != nullptr) name = found->ai_canonname;
    ::freeaddrinfo(found);
  }
  return name;
}

host::Result<std::vector<std::string>> find_node_ips(const Options& options) {
  if (!options.node_ip.empty()) return split_list(options.node_ip);
  auto detected = host::detect_node_addresses();
  if (!detected) return std::unexpected(std::move(detected.error()).within("--node-ip"));
  std::vector<std::string> result;
  for (const auto& address : {detected->v4, detected->v6}) {
    if (address) result.push_back(address->to_string());
  }
  if (result.empty()) return host::fail("this host has no default route: say --node-ip");
  return result;
}

host::Result<Node> describe_node(const Options& options) {
  Node node;
  auto name = find_node_name(options);
  if (!name) return std::unexpected(name.error());
  node.name = *name;
  auto ips = find_node_ips(options);
  if (!ips) return std::unexpected(ips.error());
  node.ips = *ips;
  for (const auto& ip : node.ips) {
    auto address = host::IpAddress::parse(ip);
    if (!address) return std::unexpected(std::move(address.error()).within("--node-ip"));
    node.addresses.push_back(*address);
  }
  auto pod_cidrs = host::parse_cidrs(options.pod_cidr);
  if (!pod_cidrs) return std::unexpected(std::move(pod_cidrs.error()).within("--pod-cidr"));
  node.pod_cidrs = *pod_cidrs;
  auto service_cidrs = host::parse_cidrs(options.service_cidr);
  if (!service_cidrs) return std::unexpected(std::move(service_cidrs.error()).within("--service-cidr"));
  node.service_cidrs = *service_cidrs;
  auto policy = sources::SourcePolicy::parse(options.source_policy);
  if (!policy) return std::unexpected(std::move(policy.error()).within("--source-policy"));
  node.policy = *policy;

  const std::string& range = options.service_node_port_range;
  const size_t dash = range.find('-');
  const auto number = [](std::string_view text, uint16_t& into) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
    return error == std::errc() && end == text.data() + text.size() && into != 0;
  };
  if (dash == std::string::npos || !number(std::string_view(range).substr(0, dash), node.first_node_port) ||
      !number(std::string_view(range).substr(dash + 1), node.last_node_port) ||
      node.first_node_port > node.last_node_port) {
    return host::fail(host::Error::Code::invalid,
                      fmt::format("--service-node-port-range: \"{}\" is not FIRST-LAST", range));
  }

  node.cgroup_root = options.cgroup_root;
  if (node.cgroup_root.empty()) {
    auto mountinfo = host::read_file("/proc/self/mountinfo");
    if (!mountinfo) return std::unexpected(mountinfo.error());
    auto mounts = host::CgroupMounts::parse(*mountinfo);
    if (!mounts) return std::unexpected(std::move(mounts.error()).within("--cgroup-root"));
    node.cgroup_root = mounts->unified;
  }
  node.pod_cgroup = options.pod_cgroup.empty() ? node.cgroup_root / "keelson" : Path(options.pod_cgroup);
  return node;
}

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

std::string level_name(api::SecurityLevel level) {
  switch (level) {
    case api::SecurityLevel::privileged:
      return "privileged";
    case api::SecurityLevel::baseline:
      return "baseline";
    case api::SecurityLevel::restricted:
      return "restricted";
  }
  return {};
}

constexpr auto kQuiet = std::chrono::seconds(5);  // after which a burst of changes counts as over

// One heap for all threads, whose free pages go back when a burst is over: arenas of the workers' own
// would keep theirs, and glibc's growing threshold would keep large buffers on the heap.
void keep_memory_small() {
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_MMAP_THRESHOLD, 128 << 10);
}

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// The agent: owns the rooms, and is what each of them sees of the others.
class Agent : private pods::PodsListener,
              private api::PodRuntimeEvents,
              private server::PodView,
              private server::ManifestInbox,
              private server::ServiceView,
              private server::NodeView {
 public:
  Agent(Options options, Node node) : options_(std::move(options)), node_(std::move(node)) {}

  host::Status start();
  void run() { loop_->run(); }

 private:
  // --- desired state
  void recovered(host::Result<std::vector<api::RecoveredPod>> pods);
  void apply();

  // --- PodsListener
  void pod_changed(const api::Pod& pod) override { proxy_->set_pod(pod); }
  void pod_removed(const std::string& namespace_, const std::string& name) override {
    proxy_->remove_pod(namespace_, name);
  }
  void sandbox_started(const std::string& uid, const api::Sandbox& sandbox,
                       const std::vector<std::string>& ips) override;
  void sandbox_gone(const std::string& uid) override { proxy_->unregister_netns(uid); }

  // --- PodRuntimeEvents, on their way to pods_
  void container_exited(const api::ExitRecord& record) override { pods_->container_exited(record); }
  void sandbox_lost(const std::string& uid, const std::string& reason) override { pods_->sandbox_lost(uid, reason); }

  // --- server::PodView
  std::vector<api::Pod> list() override;
  std::optional<api::Pod> find(const std::string& namespace_, const std::string& name) override;
  host::Result<Path> log_file(const api::Pod& pod, const std::string& container, bool previous) override;
  void exec(const api::Pod& pod, const std::string& container, api::ExecSpec spec, api::Callback<int> done) override;

  // --- server::ManifestInbox
  void store(server::PushOrder order,
             std::move_only_function<void(std::expected<server::PushReceipt, server::PushRefusal>)> done) override;
  void remove(const api::ObjectKey& key, api::StatusCallback done) override;

  // --- server::ServiceView
  std::vector<api::Service> services() override {
    return drained_ ? std::vector<api::Service>() : proxy_->services_with_allocations();
  }
  std::vector<server::Backend> backends() override;
  std::vector<server::Flow> flows(uint64_t after) override;
  void on_flows(std::function<void()> listener) override { proxy_->on_flows(std::move(listener)); }

  // --- server::NodeView
  server::NodeStatus status() override;
  std::vector<api::ImageInfo> images() override { return images_->list(); }
  void drain(api::StatusCallback done) override;
  std::string not_ready() override;

  images::InUse images_in_use() const;
  void take_down();
  void finish_drain(host::Status status);
  std::vector<api::Problem> problems() const;
  void refresh_metrics();

  const Options options_;
  const Node node_;
  const int64_t started_at_ = unix_seconds();

  host::Fd lock_;
  host::Metrics metrics_;
  std::unique_ptr<host::Loop> loop_ = host::Loop::create(2);
  std::unique_ptr<network::PodNet> network_;
  std::unique_ptr<proxy::Proxy> proxy_;
  std::unique_ptr<images::Store> images_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::unique_ptr<pods::Pods> pods_;
  std::unique_ptr<sources::Sources> sources_;
  std::unique_ptr<server::Server> server_;

  // What ran before this agent did, by source: kept until that source has spoken.
  std::vector<api::Desired<api::Pod>> unheard_;
  host::Timer trim_timer_;
  bool recovered_ = false;
  bool proxy_synced_ = false;
  bool draining_ = false;
  bool drained_ = false;
  std::vector<api::StatusCallback> drain_callbacks_;
};

host::Status Agent::start() {
  const server::Options server_options{.listen = options_.listen,
                                       .tls_cert_file = options_.tls_cert_file,
                                       .tls_private_key_file = options_.tls_private_key_file,
                                       .client_ca_file = options_.client_ca_file,
                                       .token_file = Path(options_.root_dir) / "api.token",
                                       .version = KEELSON_VERSION};
  // Flags that cannot work are refused before anything is made on the host.
  if (auto checked = server::Server::check(server_options); !checked) return checked;
  auto lock = lock_run_directory(options_.run_dir);
  if (!lock) return std::unexpected(lock.error());
  lock_ = std::move(*lock);
  if (auto made = host::make_directories(options_.root_dir, 0700); !made) return made;

  ::signal(SIGPIPE, SIG_IGN);
  loop_->on_signal(SIGTERM, [this] { loop_->stop(); });
  loop_->on_signal(SIGINT, [this] { loop_->stop(); });
  loop_->on_signal(SIGHUP, [this] {
    if (auto reloaded = server_->reload_tls(); !reloaded) {
      log_warning("reload TLS files: {}, keeping the old ones", reloaded.error().message);
    }
  });

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
  pods_ = pods::Pods::create(*loop_, std::move(pod_settings), {*runtime_, *images_, *network_}, *this);
  runtime_->recover([this](auto found) { recovered(std::move(found)); });

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

  metrics_.on_render([this] { refresh_metrics(); });
  auto server = server::Server::create(*loop_, server_options, {*this, *this, *this, *this}, metrics_);
  if (!server) return std::unexpected(server.error());
  server_ = std::move(*server);
  log_info("node {} ({}): serving on {}", node_.name, fmt::join(node_.ips, ", "), options_.listen);
  if (const char* manager = ::getenv("NOTIFY_SOCKET"); manager != nullptr) {
    if (auto told = host::notify_service_manager(manager, "READY=1"); !told) {
      log_warning("{}, ignoring", told.error().message);
    }
  }
  return {};
}

// ---- desired state ---------------------------------------------------------------------

void Agent::recovered(host::Result<std::vector<api::RecoveredPod>> found) {
  if (!found) {
    log_error("recover: {}; pods of an earlier agent are not known", found.error().message);
    found = std::vector<api::RecoveredPod>();
  }
  std::vector<std::string> alive;
  for (const auto& pod : *found) {
    if (!pod.alive) continue;
    alive.push_back(pod.spec.uid);
    auto object = api::decode_json<api::Pod>(pod.spec.manifest);
    if (!object) continue;
    const auto source = object->metadata.annotations.find("kubernetes.io/config.source");
    if (source == object->metadata.annotations.end()) continue;
    unheard_.push_back({.object = std::move(*object), .origin = {.source = source->second, .document = "recovered"}});
  }
  network_->retain(alive);
  if (!found->empty()) log_info("recovered {} pods, {} of them running", found->size(), alive.size());
  pods_->recover(std::move(*found));
  recovered_ = true;
  apply();
}

void Agent::apply() {
  if (!recovered_ || !sources_ || draining_) return;
  trim_timer_ = loop_->after(kQuiet, [] { ::malloc_trim(0); });
  api::DesiredState state = sources_->state();
  // A source that is silent since our start, with nothing on disk, does not lose its Pods.
  std::erase_if(unheard_, [this](const auto& pod) { return sources_->has_spoken(pod.origin.source); });
  for (const auto& pod : unheard_) {
    const bool wanted_anyhow = std::ranges::any_of(state.pods, [&](const auto& desired) {
      return desired.object.metadata.name == pod.object.metadata.name &&
             desired.object.metadata.namespace_ == pod.object.metadata.namespace_;
    });
    if (!wanted_anyhow) state.pods.push_back(pod);
  }

  std::vector<api::Service> services;
  for (const auto& service : state.services) services.push_back(service.object);
  std::vector<api::Endpoints> endpoints;
  for (const auto& given : state.endpoints) endpoints.push_back(given.object);
  proxy_->set_services(std::move(services));
  proxy_->set_endpoints(std::move(endpoints));
  pods_->set_services(proxy_->services_with_allocations());
  pods_->apply(state);
  if (!proxy_synced_ && sources_->synced()) {
    proxy_synced_ = true;
    // After the pods' own turn, so that the proxy has heard of those that run already.
    loop_->post([this] {
      if (!draining_) proxy_->synced();
    });
  }
}

// ---- pods → proxy ------------------------------------------------------------------------

void Agent::sandbox_started(const std::string& uid, const api::Sandbox& sandbox, const std::vector<std::string>&) {
  if (!sandbox.network_namespace) return;  // hostNetwork: the node's own namespace is registered already
  host::Fd netns(::fcntl(sandbox.network_namespace.get(), F_DUPFD_CLOEXEC, 3));
  auto registered = proxy_->register_netns(uid, sandbox.netns_cookie, network_->interface_of(uid), std::move(netns));
  if (!registered) log_warning("pod {}: services: {}, ignoring", uid, registered.error().message);
}

// ---- what the HTTP API sees ------------------------------------------------------------------

// A manifest has no creation time; on a node by itself the Pod begins when the node starts it.
api::Pod with_creation_time(api::Pod pod) {
  if (!pod.metadata.creation_timestamp) pod.metadata.creation_timestamp = pod.status.start_time;
  return pod;
}

std::vector<api::Pod> Agent::list() {
  auto pods = pods_->list();
  for (auto& pod : pods) pod = with_creation_time(std::move(pod));
  return pods;
}

std::optional<api::Pod> Agent::find(const std::string& namespace_, const std::string& name) {
  auto pod = pods_->find(namespace_, name);
  if (pod) pod = with_creation_time(std::move(*pod));
  return pod;
}

host::Result<Path> Agent::log_file(const api::Pod& pod, const std::string& container, bool previous) {
  auto path = pods_->log_path(pod.metadata.namespace_, pod.metadata.name, container, previous);
  if (!path) return std::unexpected(path.error());
  return Path(*path);
}

void Agent::exec(const api::Pod& pod, const std::string& container, api::ExecSpec spec, api::Callback<int> done) {
  auto id = pods_->running_container(pod.metadata.namespace_, pod.metadata.name, container);
  if (!id) {
    loop_->post([done = std::make_shared<api::Callback<int>>(std::move(done)), error = id.error()] {
      (*done)(std::unexpected(error));
    });
    return;
  }
  runtime_->exec(*id, std::move(spec), std::move(done));
}

void Agent::store(server::PushOrder order,
                  std::move_only_function<void(std::expected<server::PushReceipt, server::PushRefusal>)> done) {
  sources_->push_store({.manifest = std::move(order.manifest), .replace = order.replace, .only = std::move(order.only)},
                       [done = std::move(done)](std::expected<sources::Pushed, sources::PushError> result) mutable {
                         if (!result) {
                           done(std::unexpected(server::PushRefusal{result.error().error, result.error().problems}));
                         } else {
                           done(server::PushReceipt{result->keys, result->warnings});
                         }
                       });
}

void Agent::remove(const api::ObjectKey& key, api::StatusCallback done) { sources_->push_remove(key, std::move(done)); }

std::vector<server::Backend> Agent::backends() {
  std::vector<server::Backend> result;
  if (drained_) return result;
  std::map<proxy::EntryKey, std::vector<std::string>> frontends;
  std::set<proxy::EntryKey> empty;
  for (const auto& service : proxy_->services()) {
    frontends[service.key] = service.vips;
    if (service.ready + service.terminating == 0) empty.insert(service.key);
  }
  const auto describe = [&](const proxy::EntryKey& key) {
    return server::Backend{.service = to_string(key.port.service),
                           .port = std::to_string(key.port.port),
                           .protocol = to_string(key.port.protocol),
                           .frontends = frontends[key]};
  };
  for (const auto& backend : proxy_->backends()) {
    auto row = describe(backend.key);
    row.address = backend.address;
    row.pod = backend.pod;
    row.state = backend.state;
    result.push_back(std::move(row));
  }
  for (const auto& key : empty) {
    auto row = describe(key);
    row.state = "none";
    result.push_back(std::move(row));
  }
  return result;
}

std::vector<server::Flow> Agent::flows(uint64_t after) {
  std::vector<server::Flow> result;
  if (drained_) return result;
  for (const auto& flow : proxy_->flows(after)) {
    result.push_back({.number = flow.number,
                      .time_us = flow.time_us,
                      .protocol = flow.protocol,
                      .source = flow.client,
                      .frontend = flow.vip,
                      .backend = flow.backend,
                      .service = flow.service,
                      .verdict = flow.verdict,
                      .path = flow.path});
  }
  return result;
}

std::vector<api::Problem> Agent::problems() const {
  auto result = sources_->problems();
  if (!drained_) {
    auto more = proxy_->problems();
    result.insert(result.end(), more.begin(), more.end());
  }
  return result;
}

server::NodeStatus Agent::status() {
  server::NodeStatus result;
  result.node_name = node_.name;
  result.node_ip = node_.ips.front();
  utsname name{};
  if (::uname(&name) == 0) result.kernel = name.release;
  result.boot_id = host::boot_id().value_or("");
  result.started_at = started_at_;
  result.draining = draining_;
  for (const auto& source : sources_->status()) {
    result.sources.push_back({.name = source.name,
                              .location = source.location,
                              .policy = level_name(node_.policy.level(source.name)),
                              .heard = source.spoken,
                              .last_error = source.last_error,
                              .objects = static_cast<int64_t>(source.objects)});
  }
  result.problems = problems();
  const auto pods = pods_->list();
  const auto ready = std::ranges::count_if(pods, [](const api::Pod& pod) {
    return std::ranges::any_of(pod.status.conditions,
                               [](const auto& c) { return c.type == "Ready" && c.status == "True"; });
  });
  result.counts = {{"pods", static_cast<int64_t>(pods.size())},
                   {"podsReady", ready},
                   {"services", static_cast<int64_t>(services().size())},
                   {"backends", drained_ ? 0 : static_cast<int64_t>(proxy_->backends().size())},
                   {"images", static_cast<int64_t>(images_->list().size())}};
  return result;
}

std::string Agent::not_ready() {
  if (draining_) return "draining";
  if (!recovered_) return "recovering pods";
  if (!sources_->synced()) return "a manifest source has not spoken yet";
  return {};
}

void Agent::refresh_metrics() {
  std::map<std::string, double> phases = {{"Pending", 0}, {"Running", 0}, {"Succeeded", 0}, {"Failed", 0}};
  for (const auto& pod : pods_->list()) phases[pod.status.phase] += 1;
  for (const auto& [phase, count] : phases) {
    metrics_.gauge("keelson_pods", "Pods of this node by phase.", {{"phase", phase}}).set(count);
  }
  double errors = 0;
  double warnings = 0;
  for (const auto& problem : problems()) {
    (problem.severity == api::Problem::Severity::error ? errors : warnings) += 1;
  }
  metrics_.gauge("keelson_problems", "Problems that keelsonctl status shows.", {{"severity", "error"}}).set(errors);
  metrics_.gauge("keelson_problems", "Problems that keelsonctl status shows.", {{"severity", "warning"}}).set(warnings);
  if (drained_) return;
  for (const auto& counter : proxy_->counters()) {
    metrics_
        .gauge("keelson_service_flows", "Flows that the service programs decided, by verdict.",
               {{"verdict", counter.reason}})
        .set(static_cast<double>(counter.flows));
  }
  metrics_.gauge("keelson_services", "Services on this node.").set(static_cast<double>(services().size()));
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

}  // namespace

}  // namespace keelson::agent

int main(int argc, char** argv) {
  using namespace keelson;
  agent::keep_memory_small();
  auto command_line = agent::parse_command_line(argc, argv);
  if (command_line.exit_code) return *command_line.exit_code;
  const auto refuse = [](const host::Error& error, int code) {
    fmt::print(stderr, "keelson-agent: {}\n", error.message);
    return code;
  };
  auto level = host::parse_log_level(command_line.options.log_level);
  if (!level) return refuse(level.error(), 2);
  host::set_log_level(*level);
  if (::geteuid() != 0) return refuse({.message = "needs root: it makes namespaces and cgroups and loads eBPF"}, 1);
  auto node = agent::describe_node(command_line.options);
  if (!node) return refuse(node.error(), node.error().code == host::Error::Code::invalid ? 2 : 1);
  agent::Agent agent(std::move(command_line.options), std::move(*node));
  if (auto started = agent.start(); !started) return refuse(started.error(), 1);
  agent.run();
  return 0;
}
