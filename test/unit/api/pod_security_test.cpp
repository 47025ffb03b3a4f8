// The Pod Security Standards, control by control, and what this node does not act on.
#include <boost/test/unit_test.hpp>

#include "test/unit/api/manifest_of.h"

BOOST_AUTO_TEST_SUITE(pod_security_tests)

using namespace keelson::api;

namespace {

// The fields that the level refuses, a blank behind each.
std::string refused(const Pod& pod, SecurityLevel level) {
  std::string fields;
  for (const FieldError& error : violations(pod, level)) {
    BOOST_TEST(error.message.starts_with("Forbidden: "));
    fields += error.field + " ";
  }
  return fields;
}

std::string baseline(std::string_view container, std::string_view spec = "") {
  return refused(pod_of(container, spec), SecurityLevel::baseline);
}

// A pod that the restricted level allows.
constexpr std::string_view kSafe =
    "securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}, "
    "capabilities: {drop: [ALL]}}";
std::string restricted(std::string_view container, std::string_view spec = "") {
  return refused(pod_of(container, spec), SecurityLevel::restricted);
}

std::string ignored(std::string_view text) {
  std::string fields;
  for (const FieldError& error : not_acted_on(object_of(text))) {
    BOOST_TEST(!error.message.empty());
    fields += error.field + " ";
  }
  return fields;
}

const std::string kContext = "spec.containers[0].securityContext.";

}  // namespace

BOOST_AUTO_TEST_CASE(security_levels_are_named) {
  BOOST_TEST((parse_security_level("baseline") == SecurityLevel::baseline));
  BOOST_TEST((parse_security_level("restricted") == SecurityLevel::restricted));
  BOOST_TEST((parse_security_level("privileged") == SecurityLevel::privileged));
  BOOST_TEST(!parse_security_level("Baseline"));
}

BOOST_AUTO_TEST_CASE(privileged_allows_everything) {
  BOOST_TEST(refused(pod_of("securityContext: {privileged: true}", "hostPID: true"), SecurityLevel::privileged) == "");
}

BOOST_AUTO_TEST_CASE(baseline_allows_a_plain_pod) {
  BOOST_TEST(baseline("") == "");
  BOOST_TEST(
      baseline("securityContext: {capabilities: {add: [NET_BIND_SERVICE, CHOWN], drop: [KILL]}, runAsUser: 0, "
               "procMount: Default, seccompProfile: {type: RuntimeDefault}, seLinuxOptions: {type: container_t, "
               "level: 's0'}}",
               "securityContext: {sysctls: [{name: net.ipv4.tcp_syncookies, value: '1'}], appArmorProfile: {type: "
               "RuntimeDefault}}, volumes: [{name: a, emptyDir: {}}, {name: b, secret: {secretName: s}}]") == "");
}

BOOST_AUTO_TEST_CASE(baseline_refuses_each_control_by_its_field) {
  BOOST_TEST(baseline("", "hostNetwork: true") == "spec.hostNetwork ");
  BOOST_TEST(baseline("", "hostPID: true, hostIPC: true") == "spec.hostPID spec.hostIPC ");
  BOOST_TEST(baseline("securityContext: {privileged: true}") == kContext + "privileged ");
  BOOST_TEST(baseline("securityContext: {capabilities: {add: [CHOWN, NET_RAW, SYS_ADMIN, ALL]}}") ==
             kContext + "capabilities.add[1] " + kContext + "capabilities.add[2] " + kContext + "capabilities.add[3] ");
  BOOST_TEST(baseline("", "volumes: [{name: a, emptyDir: {}}, {name: b, hostPath: {path: /}}]") ==
             "spec.volumes[1].hostPath ");
  BOOST_TEST(baseline("ports: [{containerPort: 1}, {containerPort: 2, hostPort: 2}]") ==
             "spec.containers[0].ports[1].hostPort ");
  BOOST_TEST(baseline("livenessProbe: {httpGet: {port: 1, host: 10.0.0.1}}") ==
             "spec.containers[0].livenessProbe.httpGet.host ");
  BOOST_TEST(baseline("lifecycle: {preStop: {tcpSocket: {port: 1, host: a}}}") ==
             "spec.containers[0].lifecycle.preStop.tcpSocket.host ");
  BOOST_TEST(baseline("securityContext: {appArmorProfile: {type: Unconfined}}") == kContext + "appArmorProfile.type ");
  BOOST_TEST(baseline("", "securityContext: {appArmorProfile: {type: Unconfined}}") ==
             "spec.securityContext.appArmorProfile.type ");
  BOOST_TEST(baseline("securityContext: {seLinuxOptions: {type: spc_t, user: u, role: r}}") ==
             kContext + "seLinuxOptions.type " + kContext + "seLinuxOptions.user " + kContext + "seLinuxOptions.role ");
  BOOST_TEST(baseline("securityContext: {procMount: Unmasked}") == kContext + "procMount ");
  BOOST_TEST(baseline("securityContext: {seccompProfile: {type: Unconfined}}") == kContext + "seccompProfile.type ");
  BOOST_TEST(baseline("", "securityContext: {seccompProfile: {type: Unconfined}}") ==
             "spec.securityContext.seccompProfile.type ");
  BOOST_TEST(baseline("", "securityContext: {sysctls: [{name: kernel.msgmax, value: '1'}]}") ==
             "spec.securityContext.sysctls[0].name ");
  BOOST_TEST(baseline("", "securityContext: {windowsOptions: {hostProcess: true}}") ==
             "spec.securityContext.windowsOptions.hostProcess ");
  BOOST_TEST(baseline("", "initContainers: [{name: i, image: a, securityContext: {privileged: true}}]") ==
             "spec.initContainers[0].securityContext.privileged ");
  BOOST_TEST(baseline("", "ephemeralContainers: [{name: i, image: a, securityContext: {privileged: true}}]") ==
             "spec.ephemeralContainers[0].securityContext.privileged ");
  Pod pod = pod_of("");
  const std::string key = "container.apparmor.security.beta.kubernetes.io/c";
  pod.metadata.annotations[key] = "unconfined";
  BOOST_TEST(refused(pod, SecurityLevel::baseline) == "metadata.annotations[" + key + "] ");
  pod.metadata.annotations[key] = "localhost/mine";
  BOOST_TEST(refused(pod, SecurityLevel::baseline) == "");
}

BOOST_AUTO_TEST_CASE(restricted_asks_for_each_control_by_its_field) {
  BOOST_TEST(restricted(kSafe) == "");
  BOOST_TEST(restricted("securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: "
                        "[NET_BIND_SERVICE]}}",
                        "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}") == "");
  BOOST_TEST(restricted("") == kContext + "runAsNonRoot " + kContext + "allowPrivilegeEscalation " + kContext +
                                   "seccompProfile.type " + kContext + "capabilities.drop ");
  BOOST_TEST(restricted(kSafe, "volumes: [{name: a, nfs: {server: s, path: /a}}]") == "spec.volumes[0].nfs ");
  BOOST_TEST(restricted(kSafe, "securityContext: {runAsUser: 0}") == "spec.securityContext.runAsUser ");
  BOOST_TEST(restricted(kSafe, "securityContext: {runAsNonRoot: false}") == "spec.securityContext.runAsNonRoot ");
  BOOST_TEST(restricted("securityContext: {allowPrivilegeEscalation: false, runAsNonRoot: false, runAsUser: 0, "
                        "capabilities: {drop: [ALL], add: [CHOWN]}}",
                        "securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}") ==
             kContext + "runAsNonRoot " + kContext + "runAsUser " + kContext + "capabilities.add[0] ");
  BOOST_TEST(restricted(kSafe, "initContainers: [{name: i, image: a}]")
                 .find("spec.initContainers[0].securityContext."
                       "runAsNonRoot ") == 0);
  BOOST_TEST(restricted(kSafe, "hostPID: true") == "spec.hostPID ");
}

BOOST_AUTO_TEST_CASE(what_is_acted_on_is_not_reported) {
  BOOST_TEST(ignored(pod_text("")) == "");
  BOOST_TEST(
      ignored(pod_text(
          "command: [a], args: [b], workingDir: /, ports: [{name: p, containerPort: 1, hostPort: 2, hostIP: "
          "10.0.0.1}], env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}], envFrom: "
          "[{secretRef: {name: s}}], resources: {limits: {cpu: 1}}, volumeMounts: [{name: v, mountPath: /v, "
          "readOnly: true, subPath: s, mountPropagation: None}], livenessProbe: {exec: {command: [a]}}, "
          "readinessProbe: {httpGet: {port: 1, httpHeaders: [{name: a, value: b}]}}, startupProbe: {tcpSocket: "
          "{port: 1}}, lifecycle: {preStop: {sleep: {seconds: 1}}, postStart: {exec: {command: [a]}}}, stdin: "
          "true, tty: true, securityContext: {privileged: true, seccompProfile: {type: Unconfined}}",
          "restartPolicy: Never, activeDeadlineSeconds: 1, hostname: a, subdomain: b, hostAliases: [{ip: "
          "10.0.0.1}], hostPID: true, imagePullSecrets: [{name: s}], volumes: [{name: v, projected: {sources: "
          "[{secret: {name: s}}]}}, {name: w, hostPath: {path: /}}], initContainers: [{name: s, image: a, "
          "env: [{name: A}], restartPolicy: Always}], securityContext: {fsGroup: 1, sysctls: [{name: a.b, value: c}]}, "
          "dnsConfig: {searches: [a]}")) == "");
  BOOST_TEST(ignored(service_text("type: NodePort, ports: [{port: 1, targetPort: a, nodePort: 30000}], selector: {a: "
                                  "b}, sessionAffinity: ClientIP, publishNotReadyAddresses: true")) == "");
}

BOOST_AUTO_TEST_CASE(values_that_change_nothing_are_not_reported) {
  BOOST_TEST(ignored(pod_text("",
                              "schedulerName: default-scheduler, automountServiceAccountToken: false, hostUsers: "
                              "true, os: {name: linux}, affinity: {}, priority: 0")) == "");
}

BOOST_AUTO_TEST_CASE(what_is_not_acted_on_is_reported_by_its_path) {
  BOOST_TEST(ignored(pod_text("",
                              "nodeSelector: {a: b}, schedulerName: mine, serviceAccountName: me, hostUsers: false, "
                              "priority: 5, os: {name: windows}")) ==
             "spec.nodeSelector spec.serviceAccountName spec.serviceAccount spec.schedulerName spec.priority spec.os "
             "spec.hostUsers ");
  BOOST_TEST(ignored(pod_text("livenessProbe: {grpc: {port: 1}}, restartPolicy: Never, stdinOnce: true")) ==
             "spec.containers[0].restartPolicy spec.containers[0].stdinOnce ");
  BOOST_TEST(ignored(pod_text("env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: p, key: k}}}]",
                              "volumes: [{name: v, emptyDir: {}}], ephemeralContainers: [{name: debug, image: a}]")) ==
             "spec.containers[0].env[0].valueFrom.fileKeyRef spec.ephemeralContainers ");
  BOOST_TEST(ignored(pod_text("",
                              "volumes: [{name: a, emptyDir: {}}, {name: b, nfs: {server: s, path: /}}, {name: c, "
                              "projected: {sources: [{serviceAccountToken: {path: t}}]}}]")) ==
             "spec.volumes[1].nfs spec.volumes[2].projected.sources[0].serviceAccountToken ");
  BOOST_TEST(ignored(pod_text("", "initContainers: [{name: i, image: a, restartPolicy: Never}]")) ==
             "spec.initContainers[0].restartPolicy ");
  BOOST_TEST(ignored(service_text("externalIPs: [10.0.0.1], trafficDistribution: PreferClose, ports: [{port: 1, "
                                  "appProtocol: http}], loadBalancerSourceRanges: [10.0.0.0/8]")) ==
             "spec.ports[0].appProtocol spec.loadBalancerSourceRanges spec.trafficDistribution ");
  BOOST_TEST(ignored("{apiVersion: v1, kind: Pod, metadata: {name: a, finalizers: [x/y]}, status: {phase: Running}}") ==
             "metadata.finalizers status ");
}

BOOST_AUTO_TEST_SUITE_END()
