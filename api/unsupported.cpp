// Fields that this node reads but does not act on. The tables name what it does
// act on: a field that nobody thought of is reported, never silently dropped.
#include <fmt/core.h>

#include <algorithm>

#include "api/schema.h"
#include "api/validate.h"

namespace keelson::api {

namespace {

// Fields acted on, or of no consequence; of the types that have others. Types not
// named here are acted on as a whole.
struct Acted {
  std::string_view type;
  std::string_view fields;  // between blanks
};
constexpr Acted kActed[] = {
    {"Pod", " metadata spec "},
    // The rest of ObjectMeta is an API server's book-keeping.
    {"ObjectMeta",
     " name namespace uid labels annotations resourceVersion generation creationTimestamp deletionTimestamp "
     "deletionGracePeriodSeconds managedFields selfLink "},
    {"PodSpec",
     " volumes initContainers containers restartPolicy terminationGracePeriodSeconds activeDeadlineSeconds dnsPolicy "
     "nodeName hostNetwork hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets hostname subdomain "
     "hostAliases dnsConfig enableServiceLinks "},
    {"PodSecurityContext", " runAsUser runAsGroup runAsNonRoot supplementalGroups fsGroup sysctls seccompProfile "},
    {"Container",
     " name image command args workingDir ports envFrom env resources volumeMounts livenessProbe readinessProbe "
     "startupProbe lifecycle terminationMessagePath terminationMessagePolicy imagePullPolicy securityContext stdin "
     "tty "},
    {"SecurityContext",
     " capabilities privileged runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation "
     "procMount seccompProfile "},
    {"ContainerPort", " name hostPort containerPort protocol hostIP "},
    {"VolumeMount", " name readOnly mountPath subPath mountPropagation "},
    {"EnvVarSource", " fieldRef resourceFieldRef configMapKeyRef secretKeyRef "},
    {"ResourceRequirements", " limits requests "},
    {"HTTPGetAction", " path port host scheme httpHeaders "},
    {"ProbeHandler", " exec httpGet tcpSocket grpc "},
    {"GRPCAction", " port service "},
    {"Lifecycle", " postStart preStop "},
    {"VolumeSource", " hostPath emptyDir secret configMap downwardAPI projected "},
    {"VolumeProjection", " secret downwardAPI configMap "},
    {"EmptyDirVolumeSource", " medium sizeLimit "},
    {"SecretVolumeSource", " secretName items defaultMode optional "},
    {"ConfigMapVolumeSource", " localObjectReference items defaultMode optional "},
    {"DownwardAPIVolumeSource", " items defaultMode "},
    {"ProjectedVolumeSource", " sources defaultMode "},
    {"KeyToPath", " key path mode "},
    {"DownwardAPIVolumeFile", " path fieldRef resourceFieldRef mode "},
    {"Service", " metadata spec "},
    {"ServiceSpec",
     " ports selector clusterIP clusterIPs type sessionAffinity externalName publishNotReadyAddresses "
     "sessionAffinityConfig ipFamilies ipFamilyPolicy externalIPs externalTrafficPolicy internalTrafficPolicy "},
    {"ServicePort", " name protocol port targetPort nodePort "},
    {"EndpointPort", " name port protocol "},
    {"EndpointAddress", " ip hostname nodeName targetRef "},
};

constexpr std::string_view kNoScheduler = "has no effect: this node has no scheduler";
constexpr std::string_view kNoControllers = "has no effect: this node has no controllers";
constexpr std::string_view kVolumeNotMounted = "this node does not mount volumes of this type: the pod will not start";
constexpr std::string_view kOneNode = "has no effect: all endpoints of this node are its own";

// What happens instead, where it is more than "has no effect".
struct Instead {
  std::string_view type;
  std::string_view field;
  std::string_view text;
};
constexpr Instead kInstead[] = {
    {"Pod", "status", "is not read: the node writes it itself"},
    {"Service", "status", "is not read: the node writes it itself"},
    {"ObjectMeta", "generateName", "has no effect: there is no API server that makes up names"},
    {"ObjectMeta", "ownerReferences", kNoControllers},
    {"ObjectMeta", "finalizers", kNoControllers},
    {"PodSpec", "affinity", kNoScheduler},
    {"PodSpec", "nodeSelector", kNoScheduler},
    {"PodSpec", "tolerations", kNoScheduler},
    {"PodSpec", "schedulerName", kNoScheduler},
    {"PodSpec", "schedulingGates", kNoScheduler},
    {"PodSpec", "schedulingGroup", kNoScheduler},
    {"PodSpec", "topologySpreadConstraints", kNoScheduler},
    {"PodSpec", "priority", kNoScheduler},
    {"PodSpec", "priorityClassName", kNoScheduler},
    {"PodSpec", "preemptionPolicy", kNoScheduler},
    {"PodSpec", "overhead", kNoScheduler},
    {"PodSpec", "evictionResponders", kNoControllers},
    {"PodSpec", "readinessGates", "has no effect: nobody sets such conditions here; the pod is ready without them"},
    {"PodSpec", "serviceAccountName", "has no effect: this node has no API server; no token is mounted"},
    {"PodSpec", "serviceAccount", "has no effect: this node has no API server; no token is mounted"},
    {"PodSpec", "automountServiceAccountToken", "has no effect: this node has no API server; no token is mounted"},
    {"PodSpec", "runtimeClassName", "has no effect: all pods run in this node's own runtime"},
    {"PodSpec", "os", "this node runs Linux only"},
    {"PodSpec", "hostUsers", "has no effect yet: containers run with the host's user ids"},
    {"PodSpec", "resources", "has no effect yet: only the containers' own requests and limits count"},
    {"PodSpec", "setHostnameAsFQDN", "has no effect yet: the hostname is the short one"},
    {"PodSpec", "hostnameOverride", "has no effect yet: the hostname is spec.hostname or the pod's name"},
    {"PodSpec", "resourceClaims", "has no effect: this node allocates no devices"},
    {"PodSpec", "ephemeralContainers", "are not run"},
    {"PodSecurityContext", "fsGroupChangePolicy", "has no effect: owners are always changed as by Always"},
    {"PodSecurityContext", "supplementalGroupsPolicy", "has no effect: the groups are merged as by Merge"},
    {"Container", "restartPolicy", "has no effect yet: spec.restartPolicy counts"},
    {"Container", "restartPolicyRules", "has no effect yet: spec.restartPolicy counts"},
    {"Container", "resizePolicy", "has no effect yet: a change of resources starts the pod anew"},
    {"Container", "volumeDevices", "block devices are not mapped into containers yet"},
    {"Container", "stdinOnce", "has no effect yet: stdin stays open"},
    {"ResourceRequirements", "claims", "has no effect: this node allocates no devices"},
    {"GRPCAction", "mode", "has no effect yet: the call is made without TLS"},
    {"Lifecycle", "stopSignal", "has no effect yet: the image's stop signal counts"},
    {"VolumeMount", "subPathExpr", "is not expanded yet: the pod will not start"},
    {"VolumeMount", "recursiveReadOnly", "has no effect yet: mounts below stay writable"},
    {"EnvVarSource", "fileKeyRef", "is not read yet: the container will not start"},
    {"VolumeProjection", "serviceAccountToken", "has no effect: this node has no API server; the file is absent"},
    {"VolumeProjection", "clusterTrustBundle", "has no effect: this node has no API server; the file is absent"},
    {"VolumeProjection", "podCertificate", "has no effect: this node has no API server; the file is absent"},
    {"EmptyDirVolumeSource", "mode", "has no effect yet: the directory's mode is 0777"},
    {"ServiceSpec", "loadBalancerIP", "has no effect: there is no load balancer outside; node ports are served"},
    {"ServiceSpec", "loadBalancerClass", "has no effect: there is no load balancer outside; node ports are served"},
    {"ServiceSpec", "loadBalancerSourceRanges", "are not enforced yet: every source may connect"},
    {"ServiceSpec", "allocateLoadBalancerNodePorts", "has no effect: node ports are always allocated"},
    {"ServiceSpec", "healthCheckNodePort", "is not served yet"},
    {"ServiceSpec", "trafficDistribution", kOneNode},
};

// Values that mean what happens anyway: Kubernetes' defaults and their equals.
constexpr Instead kHarmless[] = {
    {"PodSpec", "schedulerName", "default-scheduler"},
    {"PodSpec", "serviceAccountName", "default"},
    {"PodSpec", "serviceAccount", "default"},
    {"PodSpec", "preemptionPolicy", "PreemptLowerPriority"},
    {"PodSpec", "automountServiceAccountToken", "false"},
    {"PodSpec", "setHostnameAsFQDN", "false"},
    {"PodSpec", "hostUsers", "true"},
    {"PodSpec", "priority", "0"},
    {"PodSecurityContext", "fsGroupChangePolicy", "Always"},
    {"PodSecurityContext", "supplementalGroupsPolicy", "Merge"},
    {"Container", "stdinOnce", "false"},
    {"VolumeMount", "recursiveReadOnly", "Disabled"},
    {"ServiceSpec", "allocateLoadBalancerNodePorts", "true"},
    {"ServiceSpec", "healthCheckNodePort", "0"},
};

bool is_acted_on(std::string_view type, std::string_view field) {
  const auto* row = std::find_if(std::begin(kActed), std::end(kActed), [&](const auto& r) { return r.type == type; });
  return row == std::end(kActed) || row->fields.find(fmt::format(" {} ", field)) != std::string_view::npos;
}

// The text of a scalar, as kHarmless writes it.
std::string text_of(const Access& access, const void* value) {
  switch (access.kind) {
    case Kind::string:
      return *static_cast<const std::string*>(value);
    case Kind::boolean:
      return *static_cast<const bool*>(value) ? "true" : "false";
    case Kind::int32:
      return std::to_string(*static_cast<const int32_t*>(value));
    case Kind::int64:
      return std::to_string(*static_cast<const int64_t*>(value));
    default:
      return {};
  }
}

class Walk {
 public:
  void structure(const Type& type, const void* object) {
    for (const Field& field : type.fields) {
      if (!is_set(field, object)) continue;
      const size_t length = path_.size();
      if (!field.inlined) {
        if (length != 0) path_ += '.';
        path_ += field.name;
      }
      if (!is_acted_on(type.name, field.name)) {
        report(type, field, object);
      } else if (field.access->kind == Kind::structure) {
        descend(field, object);
      }
      path_.resize(length);
    }
  }

  std::vector<FieldError> take() { return std::move(found_); }

 private:
  static bool is_set(const Field& field, const void* object) {
    const Access& access = *field.access;
    const void* member = field.look(object);
    if (access.shape == Shape::list || access.shape == Shape::map) return access.size(member) != 0;
    const void* value = access.get(member);
    if (value == nullptr) return false;
    if (access.kind == Kind::structure) return access.shape == Shape::optional || !is_empty(access.type(), value);
    return access.shape == Shape::optional || !text_of(access, value).empty();
  }

  void descend(const Field& field, const void* object) {
    const Access& access = *field.access;
    const void* member = field.look(object);
    if (access.shape != Shape::list) {
      structure(access.type(), access.get(member));
      return;
    }
    for (size_t i = 0; i < access.size(member); ++i) {
      const size_t length = path_.size();
      path_ += fmt::format("[{}]", i);
      if (field.name == "initContainers") in_init_container_ = true;
      structure(access.type(), access.item(member, i));
      if (field.name == "initContainers") in_init_container_ = false;
      path_.resize(length);
    }
  }

  void report(const Type& type, const Field& field, const void* object) {
    const Access& access = *field.access;
    const bool scalar = access.shape == Shape::one || access.shape == Shape::optional;
    const std::string text = scalar ? text_of(access, access.get(field.look(object))) : std::string();
    if (scalar && access.kind == Kind::structure && is_empty(access.type(), access.get(field.look(object))) &&
        type.name != "VolumeSource") {
      return;  // such as affinity: {}
    }
    if (type.name == "PodSpec" && field.name == "os") {
      if (static_cast<const PodOS*>(access.get(field.look(object)))->name == "linux") return;
    }
    // An init container's restartPolicy Always makes it a sidecar, which we run.
    if (type.name == "Container" && field.name == "restartPolicy" && in_init_container_ && text == "Always") return;
    for (const Instead& harmless : kHarmless) {
      if (harmless.type == type.name && harmless.field == field.name && harmless.text == text) return;
    }
    std::string_view message = type.name == "VolumeSource" ? kVolumeNotMounted : "has no effect on this node yet";
    for (const Instead& instead : kInstead) {
      if (instead.type == type.name && instead.field == field.name) message = instead.text;
    }
    found_.push_back({path_, std::string(message)});
  }

  std::string path_;
  bool in_init_container_ = false;
  std::vector<FieldError> found_;
};

}  // namespace

std::vector<FieldError> not_acted_on(const Object& object) {
  Walk walk;
  std::visit([&](const auto& typed) { walk.structure(type_of<std::decay_t<decltype(typed)>>(), &typed); }, object);
  return walk.take();
}

}  // namespace keelson::api
