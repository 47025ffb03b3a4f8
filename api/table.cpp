#include "api/table.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "api/query.h"

namespace keelson::api {

namespace {

constexpr Column kName = {"Name", "string", "name", "Name must be unique within a namespace."};
constexpr Column kAge = {"Age", "string", "", "Time since the object was created."};
constexpr Column wide(std::string_view name, std::string_view description) {
  return {name, "string", "", description, 1};
}

constexpr Column kPod[] = {
    kName,
    {"Ready", "string", "", "The aggregate readiness state of this pod for accepting traffic."},
    {"Status", "string", "", "The aggregate status of the containers in this pod."},
    {"Restarts", "string", "", "The number of times the containers in this pod have been restarted and when last."},
    kAge,
    wide("IP", "IP address of the pod."),
    wide("Node", "Node that the pod is bound to."),
    wide("Nominated Node", "Node that the pod is to run on when others have left."),
    wide("Readiness Gates", "Conditions beside the containers' that make the pod ready."),
};
constexpr Column kService[] = {
    kName,
    {"Type", "string", "", "How the service is exposed."},
    {"Cluster-IP", "string", "", "IP address of the service within the cluster."},
    {"External-IP", "string", "", "Addresses of the service outside the cluster."},
    {"Port(s)", "string", "", "Ports that the service exposes."},
    kAge,
    wide("Selector", "Labels of the pods behind the service."),
};
constexpr Column kController[] = {
    kName,
    {"Desired", "integer", "", "How many replicas are wanted."},
    {"Current", "integer", "", "How many replicas were last observed."},
    {"Ready", "integer", "", "How many replicas are ready."},
    kAge,
    wide("Containers", "Names of the containers in the template."),
    wide("Images", "Images of the containers in the template."),
    wide("Selector", "Labels of the pods that count."),
};
constexpr Column kNode[] = {
    kName,
    {"Status", "string", "", "The status of the node."},
    {"Roles", "string", "", "The roles of the node."},
    kAge,
    {"Version", "string", "", "The version that the node's agent reports."},
    wide("Internal-IP", "Address within the cluster."),
    wide("External-IP", "Address outside the cluster."),
    wide("OS-Image", "Operating system that the node reports."),
    wide("Kernel-Version", "Kernel that the node reports."),
    wide("Container-Runtime", "Container runtime that the node reports."),
};
constexpr Column kEndpoints[] = {kName, {"Endpoints", "string", "", "Addresses and ports behind the service."}, kAge};
constexpr Column kSlice[] = {kName,
                             {"AddressType", "string", "", "The type of address of this slice."},
                             {"Ports", "string", "", "Ports of every endpoint in this slice."},
                             {"Endpoints", "string", "", "Addresses of the endpoints in this slice."},
                             kAge};
constexpr Column kNamespace[] = {kName, {"Status", "string", "", "The status of the namespace."}, kAge};
constexpr Column kConfigMap[] = {kName, {"Data", "integer", "", "How many keys it has."}, kAge};
constexpr Column kSecret[] = {
    kName, {"Type", "string", "", "What it is for."}, {"Data", "integer", "", "How many keys it has."}, kAge};
constexpr Column kEvent[] = {
    {"Last Seen", "string", "", "Time since the event was last seen."},
    {"Type", "string", "", "Normal or Warning."},
    {"Reason", "string", "", "Why, in a word."},
    {"Object", "string", "", "What it is about."},
    wide("Subobject", "The field that it is about."),
    wide("Source", "Who reports it."),
    {"Message", "string", "", "What happened."},
    wide("First Seen", "Time since the event was first seen."),
    {"Count", "integer", "", "How often it was seen.", 1},
    {"Name", "string", "name", "Name must be unique within a namespace.", 1},
};
constexpr Column kLease[] = {kName, {"Holder", "string", "", "Who holds it."}, kAge};
constexpr Column kServiceAccount[] = {kName, {"Secrets", "integer", "", "How many secrets it may use."}, kAge};
constexpr Column kOther[] = {kName, {"Created At", "date", "", "When it was created."}};

// The cells of one row.
class Cells {
 public:
  Cells(std::string& out, Time now) : out_(out), now_(now) { out_ += '['; }
  Cells& text(std::string_view text) {
    comma();
    append_json_string(out_, text);
    return *this;
  }
  Cells& or_none(std::string_view text) { return this->text(text.empty() ? "<none>" : text); }
  Cells& number(int64_t number) {
    comma();
    fmt::format_to(std::back_inserter(out_), "{}", number);
    return *this;
  }
  Cells& age(const std::optional<Time>& since) { return text(age_of(since, now_)); }
  void end() { out_ += ']'; }
  Time now() const { return now_; }

 private:
  void comma() {
    if (out_.back() != '[') out_ += ',';
  }

  std::string& out_;
  Time now_;
};

std::string joined(const std::map<std::string, std::string>& labels) {
  std::string out;
  for (const auto& [key, value] : labels) {
    if (!out.empty()) out += ',';
    out += key + "=" + value;
  }
  return out;
}

void append_item(std::string& list, std::string_view text) {
  if (!list.empty()) list += ',';
  list += text;
}

// --- Pods ---

bool is_sidecar(const Pod& pod, const std::string& name) {
  return std::any_of(pod.spec.init_containers.begin(), pod.spec.init_containers.end(),
                     [&](const Container& c) { return c.name == name && c.restart_policy == "Always"; });
}

std::string ending(const ContainerStateTerminated& state) {
  if (!state.reason.empty()) return state.reason;
  const int32_t signal = state.signal.value_or(0);
  return signal != 0 ? fmt::format("Signal:{}", signal) : fmt::format("ExitCode:{}", state.exit_code);
}

bool has_condition(const Pod& pod, std::string_view type) {
  return std::any_of(pod.status.conditions.begin(), pod.status.conditions.end(),
                     [&](const PodCondition& c) { return c.type == type && c.status == "True"; });
}

struct PodView {
  int ready = 0;
  size_t total = 0;
  int64_t restarts = 0;
  std::optional<Time> last_restart;
  std::string reason;
};

void count_restarts(const ContainerStatus& status, PodView& view) {
  view.restarts += status.restart_count;
  if (!status.last_state.terminated) return;
  const auto finished = status.last_state.terminated->finished_at;
  if (finished && (!view.last_restart || view.last_restart->seconds < finished->seconds)) view.last_restart = finished;
}

// True while a container of the initialization holds up the others.
bool view_initialization(const Pod& pod, PodView& view) {
  const size_t total = pod.spec.init_containers.size();
  bool initializing = false;
  PodView all;
  for (size_t i = 0; i < pod.status.init_container_statuses.size(); ++i) {
    const ContainerStatus& status = pod.status.init_container_statuses[i];
    const bool sidecar = is_sidecar(pod, status.name);
    count_restarts(status, all);
    if (sidecar) count_restarts(status, view);
    const auto& terminated = status.state.terminated;
    const auto& waiting = status.state.waiting;
    if (terminated && terminated->exit_code == 0) continue;
    if (sidecar && status.started.value_or(false)) {
      if (status.ready) ++view.ready;
      continue;
    }
    if (terminated) {
      view.reason = "Init:" + ending(*terminated);
    } else if (waiting && !waiting->reason.empty() && waiting->reason != "PodInitializing") {
      view.reason = "Init:" + waiting->reason;
    } else {
      view.reason = fmt::format("Init:{}/{}", i, total);
    }
    initializing = true;
    break;
  }
  if (initializing && !has_condition(pod, "Initialized")) {
    view.restarts = all.restarts;
    view.last_restart = all.last_restart;
  }
  return initializing && !has_condition(pod, "Initialized");
}

void view_containers(const Pod& pod, PodView& view) {
  bool running = false;
  for (auto status = pod.status.container_statuses.rbegin(); status != pod.status.container_statuses.rend(); ++status) {
    count_restarts(*status, view);
    const ContainerState& state = status->state;
    if (state.waiting && !state.waiting->reason.empty()) {
      view.reason = state.waiting->reason;
    } else if (state.terminated) {
      view.reason = ending(*state.terminated);
    } else if (status->ready && state.running) {
      running = true;
      ++view.ready;
    }
  }
  // Some have completed, but others run on.
  if (view.reason == "Completed" && running) view.reason = has_condition(pod, "Ready") ? "Running" : "NotReady";
}

PodView view_of(const Pod& pod) {
  PodView view;
  view.reason = pod.status.reason.empty() ? pod.status.phase : pod.status.reason;
  view.total = pod.spec.containers.size();
  for (const Container& container : pod.spec.init_containers) view.total += container.restart_policy == "Always";
  if (std::any_of(pod.status.conditions.begin(), pod.status.conditions.end(),
                  [](const PodCondition& c) { return c.type == "PodScheduled" && c.reason == "SchedulingGated"; })) {
    view.reason = "SchedulingGated";
  }
  if (!view_initialization(pod, view)) view_containers(pod, view);
  if (pod.metadata.deletion_timestamp) {
    if (pod.status.reason == "NodeLost") {
      view.reason = "Unknown";
    } else if (pod.status.phase != "Failed" && pod.status.phase != "Succeeded") {
      view.reason = "Terminating";
    }
  }
  return view;
}

std::string gates_of(const Pod& pod) {
  if (pod.spec.readiness_gates.empty()) return {};
  const auto met = std::count_if(pod.spec.readiness_gates.begin(), pod.spec.readiness_gates.end(),
                                 [&](const PodReadinessGate& gate) { return has_condition(pod, gate.condition_type); });
  return fmt::format("{}/{}", met, pod.spec.readiness_gates.size());
}

void cells_of(const Pod& pod, Cells& cells) {
  const PodView view = view_of(pod);
  cells.text(pod.metadata.name).text(fmt::format("{}/{}", view.ready, view.total)).text(view.reason);
  if (view.restarts != 0 && view.last_restart) {
    cells.text(fmt::format("{} ({} ago)", view.restarts, age_of(view.last_restart, cells.now())));
  } else {
    cells.text(std::to_string(view.restarts));
  }
  cells.age(pod.metadata.creation_timestamp)
      .or_none(pod.status.pod_ip)
      .or_none(pod.spec.node_name)
      .or_none(pod.status.nominated_node_name)
      .or_none(gates_of(pod));
}

// --- The others ---

std::string external_addresses(const Service& service) {
  const ServiceSpec& spec = service.spec;
  std::string out;
  if (spec.type == "ExternalName") return spec.external_name;
  if (spec.type == "LoadBalancer") {
    for (const LoadBalancerIngress& ingress : service.status.load_balancer.ingress) {
      append_item(out, ingress.ip.empty() ? ingress.hostname : ingress.ip);
    }
  }
  for (const std::string& address : spec.external_ips) append_item(out, address);
  if (out.empty() && spec.type == "LoadBalancer") return "<pending>";
  return out;
}

void cells_of(const Service& service, Cells& cells) {
  const ServiceSpec& spec = service.spec;
  std::string ports;
  for (const ServicePort& port : spec.ports) {
    const int32_t node_port = port.node_port.value_or(0);
    append_item(ports, node_port > 0 ? fmt::format("{}:{}/{}", port.port, node_port, port.protocol)
                                     : fmt::format("{}/{}", port.port, port.protocol));
  }
  cells.text(service.metadata.name)
      .text(spec.type)
      .or_none(spec.cluster_ips.empty() ? spec.cluster_ip : spec.cluster_ips[0])
      .or_none(external_addresses(service))
      .or_none(ports)
      .age(service.metadata.creation_timestamp)
      .or_none(joined(spec.selector));
}

void cells_of(const ReplicationController& controller, Cells& cells) {
  std::string names;
  std::string images;
  if (controller.spec.template_) {
    for (const Container& container : controller.spec.template_->spec.containers) {
      append_item(names, container.name);
      append_item(images, container.image);
    }
  }
  cells.text(controller.metadata.name)
      .number(controller.spec.replicas.value_or(0))
      .number(controller.status.replicas)
      .number(controller.status.ready_replicas.value_or(0))
      .age(controller.metadata.creation_timestamp)
      .text(names)
      .text(images)
      .or_none(joined(controller.spec.selector));
}

std::string status_of(const Node& node) {
  std::string status = "Unknown";
  for (const NodeCondition& condition : node.status.conditions) {
    if (condition.type == "Ready") status = condition.status == "True" ? "Ready" : "NotReady";
  }
  if (node.spec.unschedulable.value_or(false)) status += ",SchedulingDisabled";
  return status;
}

std::string roles_of(const Node& node) {
  static constexpr std::string_view kPrefix = "node-role.kubernetes.io/";
  std::string roles;
  for (const auto& [key, value] : node.metadata.labels) {
    if (key.starts_with(kPrefix) && key.size() > kPrefix.size()) append_item(roles, key.substr(kPrefix.size()));
    if (key == "kubernetes.io/role" && !value.empty()) append_item(roles, value);
  }
  return roles;
}

std::string_view address_of(const Node& node, std::string_view type) {
  for (const NodeAddress& address : node.status.addresses) {
    if (address.type == type) return address.address;
  }
  return {};
}

std::string_view or_unknown(std::string_view text) { return text.empty() ? "<unknown>" : text; }

void cells_of(const Node& node, Cells& cells) {
  const NodeSystemInfo& info = node.status.node_info;
  cells.text(node.metadata.name)
      .text(status_of(node))
      .or_none(roles_of(node))
      .age(node.metadata.creation_timestamp)
      .text(info.kubelet_version)
      .or_none(address_of(node, "InternalIP"))
      .or_none(address_of(node, "ExternalIP"))
      .text(or_unknown(info.os_image))
      .text(or_unknown(info.kernel_version))
      .text(or_unknown(info.container_runtime_version));
}

constexpr size_t kMostShown = 3;

std::string shown(const std::vector<std::string>& items) {
  std::string out;
  for (size_t i = 0; i < std::min(items.size(), kMostShown); ++i) append_item(out, items[i]);
  if (items.size() > kMostShown) out += fmt::format(" + {} more...", items.size() - kMostShown);
  return out;
}

std::string bracketed(const std::string& address) {
  return address.find(':') == std::string::npos ? address : "[" + address + "]";
}

void cells_of(const Endpoints& endpoints, Cells& cells) {
  std::vector<std::string> items;
  for (const EndpointSubset& subset : endpoints.subsets) {
    for (const EndpointAddress& address : subset.addresses) {
      if (subset.ports.empty()) items.push_back(bracketed(address.ip));
      for (const EndpointPort& port : subset.ports)
        items.push_back(fmt::format("{}:{}", bracketed(address.ip), port.port));
      if (items.size() > size_t{10'000}) break;
    }
  }
  cells.text(endpoints.metadata.name).or_none(shown(items)).age(endpoints.metadata.creation_timestamp);
}

void cells_of(const EndpointSlice& slice, Cells& cells) {
  std::vector<std::string> ports;
  for (const EndpointSlicePort& port : slice.ports) ports.push_back(port.port ? std::to_string(*port.port) : "*");
  std::vector<std::string> addresses;
  for (const Endpoint& endpoint : slice.endpoints) {
    addresses.insert(addresses.end(), endpoint.addresses.begin(), endpoint.addresses.end());
  }
  const auto unset = [](std::string text) { return text.empty() ? std::string("<unset>") : text; };
  cells.text(slice.metadata.name)
      .text(slice.address_type)
      .text(unset(shown(ports)))
      .text(unset(shown(addresses)))
      .age(slice.metadata.creation_timestamp);
}

void cells_of(const Namespace& space, Cells& cells) {
  cells.text(space.metadata.name).text(space.status.phase).age(space.metadata.creation_timestamp);
}

void cells_of(const ConfigMap& config_map, Cells& cells) {
  cells.text(config_map.metadata.name)
      .number(static_cast<int64_t>(config_map.data.size() + config_map.binary_data.size()))
      .age(config_map.metadata.creation_timestamp);
}

void cells_of(const Secret& secret, Cells& cells) {
  cells.text(secret.metadata.name)
      .text(secret.type)
      .number(static_cast<int64_t>(secret.data.size()))
      .age(secret.metadata.creation_timestamp);
}

std::optional<Time> seconds_of(const std::optional<MicroTime>& time) {
  if (!time || *time == MicroTime{}) return std::nullopt;
  return Time{time->microseconds / 1'000'000};
}

std::string lower(std::string text) {
  for (char& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return text;
}

void cells_of(const Event& event, Cells& cells) {
  const std::optional<Time> when = seconds_of(event.event_time);
  const std::optional<Time> first = event.first_timestamp ? event.first_timestamp : when;
  std::optional<Time> last = event.last_timestamp ? event.last_timestamp : first;
  int64_t count = event.count.value_or(0);
  if (event.series) {
    last = seconds_of(event.series->last_observed_time);
    count = event.series->count.value_or(0);
  } else if (count == 0) {
    count = 1;
  }
  std::string target = lower(event.involved_object.kind);
  if (!event.involved_object.name.empty()) target += "/" + event.involved_object.name;
  const std::string& component = event.source.component.empty() ? event.reporting_component : event.source.component;
  const std::string& host = event.source.host.empty() ? event.reporting_instance : event.source.host;
  std::string message = event.message;
  while (message.ends_with('\n') || message.ends_with(' ')) message.pop_back();
  cells.age(last)
      .text(event.type)
      .text(event.reason)
      .text(target)
      .text(event.involved_object.field_path)
      .text(host.empty() ? component : component + ", " + host)
      .text(message)
      .age(first)
      .number(count)
      .text(event.metadata.name);
}

void cells_of(const Lease& lease, Cells& cells) {
  cells.text(lease.metadata.name).text(lease.spec.holder_identity).age(lease.metadata.creation_timestamp);
}

void cells_of(const ServiceAccount& account, Cells& cells) {
  cells.text(account.metadata.name)
      .number(static_cast<int64_t>(account.secrets.size()))
      .age(account.metadata.creation_timestamp);
}

template <typename T>
bool cells_as(const AnyObject& object, Cells& cells) {
  const T* typed = object.get_if<T>();
  if (typed != nullptr) cells_of(*typed, cells);
  return typed != nullptr;
}

void append_cells(std::string& out, const AnyObject& object, Time now) {
  Cells cells(out, now);
  if (const auto* event = object.get_if<EventsEvent>()) {
    cells_of(to_core(*event), cells);
  } else if (!(cells_as<Pod>(object, cells) || cells_as<Service>(object, cells) || cells_as<Node>(object, cells) ||
               cells_as<ReplicationController>(object, cells) || cells_as<Endpoints>(object, cells) ||
               cells_as<EndpointSlice>(object, cells) || cells_as<Namespace>(object, cells) ||
               cells_as<ConfigMap>(object, cells) || cells_as<Secret>(object, cells) ||
               cells_as<Event>(object, cells) || cells_as<Lease>(object, cells) ||
               cells_as<ServiceAccount>(object, cells))) {
    const ObjectMeta& metadata = object.metadata();
    cells.text(metadata.name).text(to_string(metadata.creation_timestamp.value_or(Time{})));
  }
  cells.end();
}

}  // namespace

std::span<const Column> table_columns(const Resource& resource) {
  static constexpr std::pair<std::string_view, std::span<const Column>> kColumns[] = {
      {"Pod", kPod},
      {"Service", kService},
      {"ReplicationController", kController},
      {"Node", kNode},
      {"Endpoints", kEndpoints},
      {"EndpointSlice", kSlice},
      {"Namespace", kNamespace},
      {"ConfigMap", kConfigMap},
      {"Secret", kSecret},
      {"Event", kEvent},
      {"Lease", kLease},
      {"ServiceAccount", kServiceAccount},
  };
  for (const auto& [kind, columns] : kColumns) {
    if (kind == resource.kind) return columns;
  }
  return kOther;
}

void append_table_head(std::string& out, const Resource& resource, const ListMeta& metadata, bool with_columns) {
  out += R"({"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{)";
  append_json_fields(out, type_of<ListMeta>(), &metadata);
  out += R"(},"columnDefinitions":[)";
  if (with_columns) {
    for (const Column& column : table_columns(resource)) {
      if (out.back() != '[') out += ',';
      fmt::format_to(std::back_inserter(out),
                     R"({{"name":"{}","type":"{}","format":"{}","description":"{}","priority":{}}})", column.name,
                     column.type, column.format, column.description, column.priority);
    }
  }
  out += R"(],"rows":[)";
}

void append_table_row(std::string& out, const AnyObject& object, RowObject include, Time now) {
  out += R"({"cells":)";
  append_cells(out, object, now);
  if (include == RowObject::whole) {
    out += R"(,"object":)";
    append_json(out, object);
  } else if (include == RowObject::metadata) {
    out += R"(,"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{)";
    append_json_fields(out, type_of<ObjectMeta>(), &object.metadata());
    out += "}}";
  }
  out += '}';
}

void append_table_row(std::string& out, const AnyObject& object, std::string_view metadata, Time now) {
  out += R"({"cells":)";
  append_cells(out, object, now);
  out += R"(,"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":)";
  out += metadata;
  out += "}}";
}

std::string age_of(const std::optional<Time>& since, Time now) {
  if (!since || *since == Time{}) return "<unknown>";
  const int64_t seconds = now.seconds - since->seconds;
  const int64_t minutes = seconds / 60;
  const int64_t hours = minutes / 60;
  const int64_t days = hours / 24;
  const auto two = [](int64_t large, char unit, int64_t small, char small_unit) {
    return small == 0 ? fmt::format("{}{}", large, unit) : fmt::format("{}{}{}{}", large, unit, small, small_unit);
  };
  if (seconds < -1) return "<invalid>";
  if (seconds < 0) return "0s";
  if (seconds < 120) return fmt::format("{}s", seconds);
  if (minutes < 10) return two(minutes, 'm', seconds % 60, 's');
  if (minutes < 180) return fmt::format("{}m", minutes);
  if (hours < 8) return two(hours, 'h', minutes % 60, 'm');
  if (hours < 48) return fmt::format("{}h", hours);
  if (days < 8) return two(days, 'd', hours % 24, 'h');
  if (days < 730) return fmt::format("{}d", days);
  if (days < 2920) return two(days / 365, 'y', days % 365, 'd');
  return fmt::format("{}y", days / 365);
}

}  // namespace keelson::api
