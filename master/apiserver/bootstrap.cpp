#include "master/apiserver/bootstrap.h"

#include <fmt/core.h>

#include <array>
#include <utility>

#include "api/resource.h"
#include "host/log.h"
#include "master/apiserver/credentials.h"

namespace keelson::apiserver {

namespace {

constexpr std::string_view kNamespaces[] = {"default", "kube-system", "kube-public", "kube-node-lease"};
constexpr std::string_view kName = "kubernetes";
constexpr std::string_view kServiceName = "kubernetes.io/service-name";
// How long an address is good for without its server: a period is missed without harm.
constexpr auto kAnnounced = std::chrono::seconds(15);
// The slice is ours, not the endpoint controller's, which leaves alone what another manages.
constexpr std::string_view kManagedBy = "endpointslice.kubernetes.io/managed-by";

WriteRequest request_for(const api::AnyObject& object, std::string verb) {
  const api::Resource& resource = object.resource();
  WriteRequest request;
  request.user = {.name = "system:apiserver", .groups = {std::string(kMasters), std::string(kAuthenticated)}};
  Attributes& a = request.attributes;
  a.verb = std::move(verb);
  a.is_resource = true;
  a.group = resource.group;
  a.version = resource.version;
  a.resource = resource.plural;
  a.namespace_ = object.metadata().namespace_;
  a.name = a.verb == "create" ? std::string() : object.metadata().name;
  a.kind = &resource;
  request.field_manager = "keelson-apiserver";
  return request;
}

std::array<const api::Resource*, 2> watched() {
  return {&api::resource_of<api::Namespace>(), &api::resource_of<api::Service>()};
}

api::ObjectMeta metadata_of(std::string_view namespace_, std::string_view name) {
  api::ObjectMeta metadata;
  metadata.namespace_ = namespace_;
  metadata.name = name;
  return metadata;
}

}  // namespace

Bootstrap::Bootstrap(host::Loop& loop, Store& store, Registry& registry, BootstrapOptions options)
    : loop_(loop), store_(store), registry_(registry), options_(options) {
  for (const api::Resource* resource : watched()) store_.kind(*resource).observe(*this);
  store_.when_ready([this] { look(); });
}

Bootstrap::~Bootstrap() {
  for (const api::Resource* resource : watched()) store_.kind(*resource).forget(*this);
}

void Bootstrap::changed(const Change& change) {
  // A new namespace may be the one that was waited for; what was deleted comes back.
  if (change.type != Change::Type::modified) soon();
}

void Bootstrap::soon() {
  if (!store_.ready() || soon_.armed()) return;
  soon_ = loop_.after(host::Duration::zero(), [this] { look(); });
}

void Bootstrap::look() {
  timer_ = loop_.after(options_.period, [this] { look(); });
  if (!store_.connected()) return;
  missing_ = false;
  announce();
  make_namespaces();
  // What stands in a namespace follows once the namespace is there.
  if (store_.find<api::Namespace>("", "default")) {
    make_service();
    make_endpoints();
  }
  if (!missing_) done_ = true;
}

void Bootstrap::make(api::AnyObject object) {
  missing_ = true;
  const api::ObjectMeta& metadata = object.metadata();
  const std::string what = fmt::format("{}/{}/{}", object.resource().kind, metadata.namespace_, metadata.name);
  if (!under_way_.insert(what).second) return;
  WriteRequest request = request_for(object, "create");
  registry_.create(std::move(request), std::move(object), [this, what](Outcome outcome) {
    under_way_.erase(what);
    // 409: another server was first. 403: its namespace is going.
    if (!outcome && outcome.error().code != 409 && outcome.error().code != 403) {
      host::log_warning("bootstrap: {}: {}; it is tried again", what, outcome.error().message);
      return;
    }
    if (outcome) soon();
  });
}

void Bootstrap::make_namespaces() {
  for (const std::string_view name : kNamespaces) {
    if (store_.find<api::Namespace>("", name)) continue;
    api::Namespace object;
    object.metadata = metadata_of("", name);
    make(std::move(object));
  }
}

void Bootstrap::make_service() {
  if (store_.find<api::Service>("default", kName)) return;
  api::Service service;
  service.metadata = metadata_of("default", kName);
  service.metadata.labels = {{"component", "apiserver"}, {"provider", "kubernetes"}};
  service.spec.cluster_ip = options_.service_ip.to_string();
  service.spec.cluster_ips = {service.spec.cluster_ip};
  service.spec.type = "ClusterIP";
  service.spec.session_affinity = "None";
  api::ServicePort port;
  port.name = "https";
  port.protocol = "TCP";
  port.port = 443;
  port.target_port = api::IntOrString{.number = options_.port};
  service.spec.ports.push_back(std::move(port));
  make(std::move(service));
}

void Bootstrap::announce() {
  // One at a time: what we make ourselves has us look again before the first is answered and seen.
  if (!options_.address || std::exchange(announcing_, true)) return;
  const auto failed = [this](const host::Error& error) {
    announcing_ = false;
    host::log_warning("bootstrap: {}; it is tried again", error.message);
  };
  store_.lease(kAnnounced, [this, failed](host::Result<int64_t> lease) {
    if (!lease) return failed(lease.error());
    std::string key = fmt::format("{}{}", kServers, options_.address->to_string());
    if (*lease == announced_with_ && store_.servers().contains(key)) {
      announcing_ = false;
      return;
    }
    Commit commit;
    commit.operations.emplace_back(etcd::Put{.key = std::move(key), .value = "{}", .lease = *lease});
    store_.commit(std::move(commit), [this, failed, lease = *lease](host::Result<Committed> result) {
      if (!result) return failed(result.error());
      announced_with_ = lease;
      store_.reach(result->revision, options_.period, [this](host::Status) { announcing_ = false; });
    });
  });
}

std::set<std::string> Bootstrap::addresses() const {
  std::set<std::string> all = {options_.address->to_string()};
  for (const std::string& key : store_.servers()) {
    const auto address = host::IpAddress::parse(std::string_view(key).substr(kServers.size()));
    if (address && address->is_v4() == options_.address->is_v4()) all.insert(address->to_string());
  }
  return all;
}

void Bootstrap::make_endpoints() {
  if (!options_.address) return;

  api::Endpoints endpoints;
  endpoints.metadata = metadata_of("default", kName);
  endpoints.metadata.labels = {{"endpointslice.kubernetes.io/skip-mirror", "true"}};
  api::EndpointSubset subset;
  for (const std::string& address : addresses()) subset.addresses.push_back({.ip = address});
  subset.ports.push_back({.name = "https", .port = options_.port, .protocol = "TCP"});
  endpoints.subsets.push_back(std::move(subset));

  api::EndpointSlice slice;
  slice.metadata = metadata_of("default", kName);
  slice.metadata.labels = {{std::string(kServiceName), std::string(kName)},
                           {std::string(kManagedBy), "keelson-apiserver"}};
  slice.address_type = options_.address->is_v4() ? "IPv4" : "IPv6";
  for (const std::string& address : addresses()) {
    api::Endpoint endpoint;
    endpoint.addresses = {address};
    endpoint.conditions.ready = true;
    slice.endpoints.push_back(std::move(endpoint));
  }
  api::EndpointSlicePort slice_port;
  slice_port.name = "https";
  slice_port.protocol = "TCP";
  slice_port.port = options_.port;
  slice.ports.push_back(std::move(slice_port));

  const auto keep = [this](api::AnyObject wanted, auto same, auto adjust) {
    const VersionPtr there = store_.find(wanted.resource(), "default", kName);
    if (!there) return make(std::move(wanted));
    if (same(there->object)) return;
    missing_ = true;
    const std::string what = fmt::format("{}/default/{}", wanted.resource().kind, kName);
    if (!under_way_.insert(what).second) return;
    registry_.modify(
        request_for(wanted, "update"),
        [adjust](api::AnyObject& object) -> std::expected<void, api::Status> {
          adjust(object);
          return {};
        },
        [this, what](Outcome outcome) {
          under_way_.erase(what);
          if (!outcome) {
            host::log_warning("bootstrap: {}: {}; it is tried again", what, outcome.error().message);
          } else if (!done_) {
            soon();
          }
        });
  };
  keep(
      endpoints,
      [&](const api::AnyObject& there) { return there.get_if<api::Endpoints>()->subsets == endpoints.subsets; },
      [subsets = endpoints.subsets](api::AnyObject& object) { object.get_if<api::Endpoints>()->subsets = subsets; });
  keep(
      slice,
      [&](const api::AnyObject& there) {
        const auto& current = *there.get_if<api::EndpointSlice>();
        return current.endpoints == slice.endpoints && current.ports == slice.ports;
      },
      [endpoints = slice.endpoints, ports = slice.ports](api::AnyObject& object) {
        auto& current = *object.get_if<api::EndpointSlice>();
        current.endpoints = endpoints;
        current.ports = ports;
      });
}

}  // namespace keelson::apiserver
