// Bad manifests, each with the field and the words that Kubernetes answers with.
#include "api/validate.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "test/unit/api/manifest_of.h"

BOOST_AUTO_TEST_SUITE(validate_tests)

using namespace keelson::api;

namespace {

std::string errors_of(const Object& object) {
  std::string text;
  for (const FieldError& error : validate(object)) text += error.field + ": " + error.message + "\n";
  return text;
}

struct Case {
  std::string manifest;
  std::string expected;  // the start of the only error
};

void check(const std::vector<Case>& cases) {
  for (const Case& bad : cases) {
    const std::string errors = errors_of(object_of(bad.manifest));
    BOOST_TEST(errors.starts_with(bad.expected), bad.manifest << "\n  said: " << errors << "  not: " << bad.expected);
    BOOST_TEST(std::count(errors.begin(), errors.end(), '\n') == 1, bad.manifest << "\n  said: " << errors);
  }
}

Case container(std::string_view text, std::string_view expected, std::string_view spec = "") {
  return {pod_text(text, spec), std::string(expected)};
}
Case pod(std::string_view spec, std::string_view expected) { return {pod_text("", spec), std::string(expected)}; }
Case service(std::string_view spec, std::string_view expected) { return {service_text(spec), std::string(expected)}; }
Case meta(std::string_view metadata, std::string_view expected) {
  return {"{apiVersion: v1, kind: ConfigMap, metadata: {" + std::string(metadata) + "}}", std::string(expected)};
}
Case config_map(std::string_view rest, std::string_view expected) {
  return {"{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, " + std::string(rest) + "}", std::string(expected)};
}
Case secret(std::string_view rest, std::string_view expected) {
  return {"{apiVersion: v1, kind: Secret, metadata: {name: a}, " + std::string(rest) + "}", std::string(expected)};
}
Case endpoints(std::string_view subset, std::string_view expected) {
  return {"{apiVersion: v1, kind: Endpoints, metadata: {name: a}, subsets: [{" + std::string(subset) + "}]}",
          std::string(expected)};
}

constexpr std::string_view kVolume = "volumes: [{name: v, emptyDir: {}}]";

}  // namespace

BOOST_AUTO_TEST_CASE(good_manifests_have_no_errors) {
  for (const std::string& manifest :
       {pod_text(""),
        pod_text("ports: [{name: http, containerPort: 80, hostPort: 80}, {containerPort: 80, protocol: UDP}], "
                 "resources: {limits: {cpu: 1, memory: 64Mi, example.com/gpu: 2}, requests: {cpu: 500m}}, "
                 "volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /b, subPath: a/b..c}], "
                 "livenessProbe: {httpGet: {port: http}}, readinessProbe: {exec: {command: [a]}, successThreshold: 3}, "
                 "lifecycle: {preStop: {sleep: {seconds: 5}}}, "
                 "env: [{name: A}, {name: B, valueFrom: {fieldRef: {fieldPath: \"metadata.labels['a/b']\"}}}, "
                 "{name: C, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}], "
                 "envFrom: [{prefix: X_, configMapRef: {name: m}}], "
                 "securityContext: {capabilities: {add: [NET_ADMIN]}, runAsUser: 0}",
                 "volumes: [{name: v, hostPath: {path: /tmp, type: Directory}}], hostNetwork: false, "
                 "initContainers: [{name: i, image: a}, {name: s, image: a, restartPolicy: Always, livenessProbe: "
                 "{tcpSocket: {port: 1}}}], dnsPolicy: None, dnsConfig: {nameservers: [1.1.1.1, 'fd00::1'], searches: "
                 "[a.b., _tcp.c]}, hostAliases: [{ip: 10.0.0.1, hostnames: [a.b]}]"),
        pod_text("ports: [{containerPort: 80}]", "hostNetwork: true"),
        service_text("ports: [{port: 80}], selector: {app: web}"),
        service_text(
            "ports: [{name: a, port: 80, nodePort: 30000}, {name: b, port: 80, protocol: UDP, nodePort: 30000}], "
            "type: NodePort, sessionAffinity: ClientIP"),
        service_text("clusterIP: None"), service_text("type: ExternalName, externalName: example.com."),
        service_text("ports: [{port: 1, targetPort: http}], clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1'], "
                     "ipFamilies: [IPv4, IPv6], ipFamilyPolicy: RequireDualStack")}) {
    BOOST_TEST(errors_of(object_of(manifest)) == "", manifest);
  }
}

BOOST_AUTO_TEST_CASE(names_labels_and_annotations) {
  check({
      meta("namespace: a", "metadata.name: Required value\n"),
      meta("generateName: a-", "metadata.name: Required value: generateName needs an API server"),
      meta("name: Foo",
           "metadata.name: Invalid value: \"Foo\": a lowercase RFC 1123 subdomain must consist of lower case "
           "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
           "'example.com', regex used for validation is "
           "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')\n"),
      meta("name: a..b", "metadata.name: Invalid value: \"a..b\": a lowercase RFC 1123 subdomain"),
      meta("name: ../etc", "metadata.name: Invalid value: \"../etc\""),
      meta("name: " + std::string(254, 'a'),
           "metadata.name: Invalid value: \"" + std::string(254, 'a') + "\": must be no more than 253 bytes"),
      meta("name: a, namespace: a.b", "metadata.namespace: Invalid value: \"a.b\": a lowercase RFC 1123 label must"),
      meta("name: a, labels: {-a: b}", "metadata.labels: Invalid value: \"-a\": name part must consist of"),
      meta("name: a, labels: {a/b/c: d}", "metadata.labels: Invalid value: \"a/b/c\": a qualified name must consist"),
      meta("name: a, labels: {A_b/c: d}", "metadata.labels: Invalid value: \"A_b/c\": prefix part a lowercase"),
      meta("name: a, labels: {/c: d}", "metadata.labels: Invalid value: \"/c\": prefix part must be non-empty"),
      meta("name: a, labels: {a: 'b c'}", "metadata.labels: Invalid value: \"b c\": a valid label must be an empty"),
      meta("name: a, annotations: {'a b': c}", "metadata.annotations: Invalid value: \"a b\": name part must consist"),
      meta("name: a, annotations: {b: " + std::string(300'000, 'x') + "}",
           "metadata.annotations: Too long: may not be more than 262144 bytes"),
      {"{apiVersion: v1, kind: Service, metadata: {name: 1a}, spec: {clusterIP: None}}",
       "metadata.name: Invalid value: \"1a\": a DNS-1035 label must consist of lower case"},
  });
}

BOOST_AUTO_TEST_CASE(containers) {
  check({
      {"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: []}}", "spec.containers: Required value\n"},
      {"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{image: a}]}}",
       "spec.containers[0].name: Required value\n"},
      {"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a}]}}",
       "spec.containers[0].image: Required value\n"},
      {"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: 'a '}]}}",
       "spec.containers[0].image: Invalid value: \"a \": must not have leading or trailing whitespace"},
      {"{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: A.b, image: a}]}}",
       "spec.containers[0].name: Invalid value: \"A.b\": a lowercase RFC 1123 label must consist of lower case "
       "alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or "
       "'123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')\n"},
      pod("initContainers: [{name: c, image: a}]", "spec.initContainers[0].name: Duplicate value: \"c\"\n"),
      pod("initContainers: [{name: i, image: a, readinessProbe: {tcpSocket: {port: 1}}}]",
          "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without "
          "restartPolicy=Always\n"),
      pod("initContainers: [{name: i, image: a, lifecycle: {preStop: {exec: {command: [a]}}}}]",
          "spec.initContainers[0].lifecycle: Forbidden: may not be set for init containers"),
      pod("initContainers: [{name: i, image: a, restartPolicy: Sometimes}]",
          "spec.initContainers[0].restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\""),
      pod("ephemeralContainers: [{name: e, image: a}]", "spec.ephemeralContainers: Forbidden: cannot be set on create"),
      container("imagePullPolicy: Maybe",
                "spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", "
                "\"IfNotPresent\", \"Never\"\n"),
      container("terminationMessagePolicy: None", "spec.containers[0].terminationMessagePolicy: Unsupported value"),
  });
}

BOOST_AUTO_TEST_CASE(container_ports) {
  check({
      container("ports: [{containerPort: 70000}]",
                "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, "
                "inclusive\n"),
      container("ports: [{hostPort: 1}]", "spec.containers[0].ports[0].containerPort: Required value\n"),
      container("ports: [{containerPort: 1, hostPort: -1}]",
                "spec.containers[0].ports[0].hostPort: Invalid value: -1: must be between"),
      container("ports: [{containerPort: 1, protocol: tcp}]",
                "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", "
                "\"TCP\", \"UDP\"\n"),
      container("ports: [{containerPort: 1, name: a}, {containerPort: 2, name: a}]",
                "spec.containers[0].ports[1].name: Duplicate value: \"a\"\n"),
      container("ports: [{containerPort: 1, name: a--b}]",
                "spec.containers[0].ports[0].name: Invalid value: \"a--b\": must not contain consecutive hyphens"),
      container("ports: [{containerPort: 1, name: '80'}]",
                "spec.containers[0].ports[0].name: Invalid value: \"80\": must contain at least one letter (a-z)"),
      container("ports: [{containerPort: 1, name: abcdefghijklmnop}]",
                "spec.containers[0].ports[0].name: Invalid value: \"abcdefghijklmnop\": must be no more than 15"),
      container("ports: [{containerPort: 1, hostIP: localhost}]",
                "spec.containers[0].ports[0].hostIP: Invalid value: \"localhost\": must be a valid IP address"),
      container("ports: [{containerPort: 1, hostPort: 5}, {containerPort: 2, hostPort: 5}]",
                "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//5\"\n"),
      container("ports: [{containerPort: 80, hostPort: 81}]",
                "spec.containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when "
                "`hostNetwork` is true\n",
                "hostNetwork: true"),
  });
}

BOOST_AUTO_TEST_CASE(environment) {
  check({
      container("env: [{value: a}]", "spec.containers[0].env[0].name: Required value\n"),
      container("env: [{name: a=b}]", "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment"),
      container("env: [{name: a, valueFrom: {}}]",
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, "
                "`resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`\n"),
      container("env: [{name: a, value: b, valueFrom: {secretKeyRef: {name: s, key: k}}}]",
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not "
                "empty\n"),
      container("env: [{name: a, valueFrom: {secretKeyRef: {name: s, key: k}, configMapKeyRef: {name: s, key: k}}}]",
                "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not have more than one field"),
      container("env: [{name: a, valueFrom: {secretKeyRef: {key: k}}}]",
                "spec.containers[0].env[0].valueFrom.secretKeyRef.name: Required value\n"),
      container("env: [{name: a, valueFrom: {configMapKeyRef: {name: m, key: a/b}}}]",
                "spec.containers[0].env[0].valueFrom.configMapKeyRef.key: Invalid value: \"a/b\": a valid config key"),
      container("env: [{name: a, valueFrom: {fieldRef: {fieldPath: spec.containers}}}]",
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.containers\""),
      container("env: [{name: a, valueFrom: {fieldRef: {fieldPath: \"spec.x['a']\"}}}]",
                "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x['a']\": does not "
                "support subscript"),
      container("env: [{name: a, valueFrom: {resourceFieldRef: {resource: limits.gpu}}}]",
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.gpu\""),
      container("env: [{name: a, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 3}}}]",
                "spec.containers[0].env[0].valueFrom.resourceFieldRef.divisor: Invalid value: \"3\": only divisor's "
                "values 1m and 1 are supported with the cpu resource\n"),
      container("envFrom: [{prefix: a}]",
                "spec.containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or "
                "`secretRef`\n"),
      container("envFrom: [{secretRef: {}}]", "spec.containers[0].envFrom[0].secretRef.name: Required value\n"),
  });
}

BOOST_AUTO_TEST_CASE(mounts) {
  check({
      container("volumeMounts: [{name: w, mountPath: /a}]",
                "spec.containers[0].volumeMounts[0].name: Not found: \"w\"\n"),
      container("volumeMounts: [{name: v}]", "spec.containers[0].volumeMounts[0].mountPath: Required value\n", kVolume),
      container("volumeMounts: [{name: v, mountPath: /a}, {name: v, mountPath: /a}]",
                "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique\n", kVolume),
      container("volumeMounts: [{name: v, mountPath: /a, subPath: a/../../b}]",
                "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"a/../../b\": must not contain '..'\n",
                kVolume),
      container("volumeMounts: [{name: v, mountPath: /a, subPath: /b}]",
                "spec.containers[0].volumeMounts[0].subPath: Invalid value: \"/b\": must be a relative path\n",
                kVolume),
      container("volumeMounts: [{name: v, mountPath: /a, subPath: b, subPathExpr: c}]",
                "spec.containers[0].volumeMounts[0].subPathExpr: Invalid value: \"c\": subPathExpr and subPath are "
                "mutually exclusive\n",
                kVolume),
      container("volumeMounts: [{name: v, mountPath: /a, mountPropagation: Both}]",
                "spec.containers[0].volumeMounts[0].mountPropagation: Unsupported value: \"Both\"", kVolume),
      container("volumeMounts: [{name: v, mountPath: /a, mountPropagation: Bidirectional}]",
                "spec.containers[0].volumeMounts[0].mountPropagation: Forbidden: Bidirectional mount propagation is "
                "available only to privileged containers\n",
                kVolume),
      container("volumeMounts: [{name: v, mountPath: /a, recursiveReadOnly: Enabled}]",
                "spec.containers[0].volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when readOnly",
                kVolume),
  });
}

BOOST_AUTO_TEST_CASE(volumes) {
  check({
      pod("volumes: [{emptyDir: {}}]", "spec.volumes[0].name: Required value\n"),
      pod("volumes: [{name: a, emptyDir: {}}, {name: a, emptyDir: {}}]",
          "spec.volumes[1].name: Duplicate value: \"a\"\n"),
      pod("volumes: [{name: a, emptyDir: {}, hostPath: {path: /a}}]",
          "spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type\n"),
      pod("volumes: [{name: a, hostPath: {path: ''}}]", "spec.volumes[0].hostPath.path: Required value\n"),
      pod("volumes: [{name: a, hostPath: {path: /a/../b}}]",
          "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'\n"),
      pod("volumes: [{name: a, hostPath: {path: /a, type: Dir}}]",
          "spec.volumes[0].hostPath.type: Unsupported value: \"Dir\""),
      pod("volumes: [{name: a, emptyDir: {medium: Disk}}]",
          "spec.volumes[0].emptyDir.medium: Unsupported value: \"Disk\": supported values: \"Memory\"\n"),
      pod("volumes: [{name: a, emptyDir: {sizeLimit: -1}}]",
          "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit"),
      pod("volumes: [{name: a, secret: {}}]", "spec.volumes[0].secret.secretName: Required value\n"),
      pod("volumes: [{name: a, configMap: {}}]", "spec.volumes[0].configMap.name: Required value\n"),
      pod("volumes: [{name: a, configMap: {name: m, defaultMode: 512}}]",
          "spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), "
          "both inclusive\n"),
      pod("volumes: [{name: a, configMap: {name: m, items: [{key: k, path: ../x}]}}]",
          "spec.volumes[0].configMap.items[0].path: Invalid value: \"../x\": must not contain '..'\n"),
      pod("volumes: [{name: a, configMap: {name: m, items: [{key: k, path: ..x}]}}]",
          "spec.volumes[0].configMap.items[0].path: Invalid value: \"..x\": must not start with '..'\n"),
      pod("volumes: [{name: a, downwardAPI: {items: [{path: x}]}}]",
          "spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required\n"),
      pod("volumes: [{name: a, downwardAPI: {items: [{path: x, resourceFieldRef: {resource: limits.cpu}}]}}]",
          "spec.volumes[0].downwardAPI.items[0].resourceFieldRef.containerName: Required value\n"),
      pod("volumes: [{name: a, projected: {sources: [{}]}}]",
          "spec.volumes[0].projected.sources[0]: Required value: must specify a volume projection\n"),
      pod("volumes: [{name: a, projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}, {configMap: "
          "{name: m, items: [{key: k, path: p}]}}]}}]",
          "spec.volumes[0].projected.sources[1]: Invalid value: \"p\": conflicting duplicate paths\n"),
      pod("volumes: [{name: a, nfs: {server: s, path: p}}]",
          "spec.volumes[0].nfs.path: Invalid value: \"p\": must be an absolute path\n"),
      pod("volumes: [{name: a, persistentVolumeClaim: {claimName: ''}}]",
          "spec.volumes[0].persistentVolumeClaim.claimName: Required value\n"),
  });
}

BOOST_AUTO_TEST_CASE(resources) {
  check({
      container("resources: {requests: {cpu: 2}, limits: {cpu: 1}}",
                "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit "
                "of 1\n"),
      container("resources: {requests: {memory: 1025Mi}, limits: {memory: 1Gi}}",
                "spec.containers[0].resources.requests: Invalid value: \"1025Mi\": must be less than or equal to "
                "memory limit of 1Gi\n"),
      container("resources: {requests: {cpu: -1}}",
                "spec.containers[0].resources.requests[cpu]: Invalid value: \"-1\": must be greater than or equal to "
                "0\n"),
      container("resources: {requests: {disk: 1}}",
                "spec.containers[0].resources.requests[disk]: Invalid value: \"disk\": must be a standard resource for "
                "containers\n"),
      container("resources: {requests: {example.com/gpu: 1}}",
                "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable "
                "resources\n"),
      container("resources: {requests: {example.com/gpu: 1}, limits: {example.com/gpu: 2}}",
                "spec.containers[0].resources.requests: Invalid value: \"1\": must be equal to example.com/gpu limit "
                "of 2\n"),
  });
}

BOOST_AUTO_TEST_CASE(probes_and_hooks) {
  check({
      container("livenessProbe: {periodSeconds: 1}",
                "spec.containers[0].livenessProbe: Required value: must specify a handler type\n"),
      container("livenessProbe: {exec: {command: [a]}, tcpSocket: {port: 1}}",
                "spec.containers[0].livenessProbe: Forbidden: may not specify more than 1 handler type\n"),
      container("livenessProbe: {exec: {command: [a]}, successThreshold: 2}",
                "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1\n"),
      container("startupProbe: {exec: {command: [a]}, successThreshold: 2}",
                "spec.containers[0].startupProbe.successThreshold: Invalid value: 2: must be 1\n"),
      container("readinessProbe: {exec: {}}", "spec.containers[0].readinessProbe.exec.command: Required value\n"),
      container("readinessProbe: {httpGet: {port: 0}}",
                "spec.containers[0].readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535"),
      container("readinessProbe: {httpGet: {port: 1, scheme: ftp}}",
                "spec.containers[0].readinessProbe.httpGet.scheme: Unsupported value: \"ftp\""),
      container("readinessProbe: {httpGet: {port: 1, httpHeaders: [{name: 'a b', value: c}]}}",
                "spec.containers[0].readinessProbe.httpGet.httpHeaders[0].name: Invalid value: \"a b\": a valid HTTP"),
      container("readinessProbe: {httpGet: {port: 1, httpHeaders: [{name: a, value: \"b\\r\\nc\"}]}}",
                "spec.containers[0].readinessProbe.httpGet.httpHeaders[0].value: Invalid value: \"b\\r\\nc\": must not "
                "contain line breaks"),
      container("readinessProbe: {tcpSocket: {port: 1}, timeoutSeconds: -1}",
                "spec.containers[0].readinessProbe.timeoutSeconds: Invalid value: -1: must be greater than or equal to "
                "0\n"),
      container("readinessProbe: {tcpSocket: {port: 1}, terminationGracePeriodSeconds: 1}",
                "spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set "
                "for readinessProbes\n"),
      container("lifecycle: {postStart: {}}",
                "spec.containers[0].lifecycle.postStart: Required value: must specify a handler type\n"),
      container("lifecycle: {preStop: {sleep: {seconds: 31}}}",
                "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
                "terminationGracePeriodSeconds (30)\n"),
  });
}

BOOST_AUTO_TEST_CASE(security_contexts) {
  check({
      container("securityContext: {runAsUser: -1}",
                "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, "
                "inclusive\n"),
      container("securityContext: {privileged: true, allowPrivilegeEscalation: false}",
                "spec.containers[0].securityContext: Invalid value: \"\": cannot set `allowPrivilegeEscalation` to "
                "false and `privileged` to true\n"),
      container("securityContext: {capabilities: {add: [SYS_ADMIN]}, allowPrivilegeEscalation: false}",
                "spec.containers[0].securityContext: Invalid value: \"\": cannot set `allowPrivilegeEscalation` to "
                "false and `capabilities.Add` CAP_SYS_ADMIN\n"),
      container("securityContext: {procMount: Open}",
                "spec.containers[0].securityContext.procMount: Unsupported value: \"Open\""),
      container("securityContext: {seccompProfile: {type: Localhost}}",
                "spec.containers[0].securityContext.seccompProfile.localhostProfile: Required value: must be set when "
                "seccomp type is Localhost\n"),
      container("securityContext: {seccompProfile: {type: Localhost, localhostProfile: ../x}}",
                "spec.containers[0].securityContext.seccompProfile.localhostProfile: Invalid value: \"../x\": must not "
                "contain '..'\n"),
      pod("securityContext: {seccompProfile: {type: RuntimeDefault, localhostProfile: x}}",
          "spec.securityContext.seccompProfile.localhostProfile: Invalid value: \"x\": can only be set when seccomp"),
      pod("securityContext: {fsGroup: 3000000000}", "spec.securityContext.fsGroup: Invalid value: 3000000000: must be"),
      pod("securityContext: {supplementalGroups: [1, -1]}",
          "spec.securityContext.supplementalGroups[1]: Invalid value: -1: must be between"),
      pod("securityContext: {sysctls: [{name: ../a, value: b}]}",
          "spec.securityContext.sysctls[0].name: Invalid value: \"../a\": must have at most 253 characters"),
      pod("securityContext: {sysctls: [{name: a.b, value: b}, {name: a/b, value: c}]}",
          "spec.securityContext.sysctls[1].name: Duplicate value: \"a/b\"\n"),
      pod("hostNetwork: true, securityContext: {sysctls: [{name: net.core.somaxconn, value: b}]}",
          "spec.securityContext.sysctls[0].name: Invalid value: \"net.core.somaxconn\": may not be set when"),
      pod("hostPID: true, shareProcessNamespace: true",
          "spec.shareProcessNamespace: Invalid value: \"true\": ShareProcessNamespace and HostPID cannot both be "
          "enabled\n"),
      pod("hostUsers: false, hostIPC: true", "spec.hostIPC: Forbidden: when `hostUsers` is false\n"),
  });
}

BOOST_AUTO_TEST_CASE(pods) {
  check({
      pod("restartPolicy: Sometimes",
          "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", "
          "\"OnFailure\"\n"),
      pod("terminationGracePeriodSeconds: -1",
          "spec.terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0\n"),
      pod("activeDeadlineSeconds: 0",
          "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive\n"),
      pod("hostname: a.b", "spec.hostname: Invalid value: \"a.b\": a lowercase RFC 1123 label"),
      pod("subdomain: A", "spec.subdomain: Invalid value: \"A\": a lowercase RFC 1123 label"),
      pod("nodeName: a_b", "spec.nodeName: Invalid value: \"a_b\""),
      pod("imagePullSecrets: [{}]", "spec.imagePullSecrets[0].name: Required value\n"),
      pod("hostAliases: [{ip: a}]", "spec.hostAliases[0].ip: Invalid value: \"a\": must be a valid IP address"),
      pod("hostAliases: [{ip: 1.2.3.4, hostnames: [\"a\\nb\"]}]",
          "spec.hostAliases[0].hostnames[0]: Invalid value: \"a\\nb\""),
      pod("dnsPolicy: Mine", "spec.dnsPolicy: Unsupported value: \"Mine\""),
      pod("dnsPolicy: None", "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None\n"),
      pod("dnsPolicy: None, dnsConfig: {}",
          "spec.dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is "
          "None\n"),
      pod("dnsConfig: {nameservers: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4]}",
          "spec.dnsConfig.nameservers: Invalid value: 4: must not have more than 3 nameservers\n"),
      pod("dnsConfig: {nameservers: [dns]}", "spec.dnsConfig.nameservers[0]: Invalid value: \"dns\": must be a valid"),
      pod("dnsConfig: {searches: ['a b']}", "spec.dnsConfig.searches[0]: Invalid value: \"a b\""),
      pod("dnsConfig: {options: [{value: a}]}", "spec.dnsConfig.options[0].name: Required value\n"),
      pod("tolerations: [{key: a, operator: Exists, value: b}]", "spec.tolerations[0].operator: Invalid value: \"b\""),
      pod("os: {name: beos}", "spec.os.name: Unsupported value: \"beos\": supported values: \"linux\", \"windows\"\n"),
  });
}

BOOST_AUTO_TEST_CASE(services) {
  check({
      service("selector: {a: b}", "spec.ports: Required value\n"),
      service("ports: [{port: 1}, {name: a, port: 2}]", "spec.ports[0].name: Required value\n"),
      service("ports: [{name: a, port: 1}, {name: a, port: 2}]", "spec.ports[1].name: Duplicate value: \"a\"\n"),
      service("ports: [{name: a, port: 1}, {name: b, port: 1}]", "spec.ports[1]: Duplicate value: \"1/TCP\"\n"),
      service("ports: [{port: 70000, targetPort: 1}]",
              "spec.ports[0].port: Invalid value: 70000: must be between 1 and"),
      service("ports: [{port: 1, protocol: HTTP}]",
              "spec.ports[0].protocol: Unsupported value: \"HTTP\": supported values: \"SCTP\", \"TCP\", \"UDP\"\n"),
      service("ports: [{port: 1, targetPort: a_b}]", "spec.ports[0].targetPort: Invalid value: \"a_b\": must contain"),
      service("ports: [{port: 1, nodePort: 30000}]",
              "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'\n"),
      service("type: NodePort, ports: [{name: a, port: 1, nodePort: 30000}, {name: b, port: 2, nodePort: 30000}]",
              "spec.ports[1].nodePort: Duplicate value: \"30000\"\n"),
      service("type: Public, ports: [{port: 1}]", "spec.type: Unsupported value: \"Public\": supported values: "),
      service("ports: [{port: 1}], clusterIP: mine", "spec.clusterIPs[0]: Invalid value: \"mine\": must be a valid IP"),
      service("ports: [{port: 1}], clusterIP: 127.0.0.1",
              "spec.clusterIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range"),
      service("ports: [{port: 1}], type: NodePort, clusterIP: None",
              "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services\n"),
      service("ports: [{port: 1}], clusterIP: 10.0.0.1, clusterIPs: [10.0.0.2]",
              "spec.clusterIPs: Invalid value: \"10.0.0.2\": first value must match `clusterIP`\n"),
      service("ports: [{port: 1}], clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 10.0.0.2]",
              "spec.clusterIPs: Invalid value: \"10.0.0.2\": may specify no more than one IP for each IP family\n"),
      service("ports: [{port: 1}], clusterIP: 10.0.0.1, ipFamilies: [IPv6]",
              "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by "
              "`ipFamilies[0]`\n"),
      service("ports: [{port: 1}], sessionAffinity: Cookie", "spec.sessionAffinity: Unsupported value: \"Cookie\""),
      service(
          "ports: [{port: 1}], sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 86401}}",
          "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and "
          "less than 86400\n"),
      service("type: ExternalName", "spec.externalName: Required value\n"),
      service("type: ExternalName, externalName: a, clusterIP: 10.0.0.1",
              "spec.clusterIP: Forbidden: may not be set for ExternalName services\n"),
      service("ports: [{port: 1}], externalTrafficPolicy: Local",
              "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible "
              "services\n"),
      service("ports: [{port: 1}], selector: {a: 'b c'}", "spec.selector: Invalid value: \"b c\""),
      service("ports: [{port: 1}], type: LoadBalancer, loadBalancerSourceRanges: [10.0.0.1]",
              "spec.loadBalancerSourceRanges[0]: Invalid value: \"10.0.0.1\": must be a valid CIDR value"),
  });
}

BOOST_AUTO_TEST_CASE(endpoint_subsets) {
  check({
      endpoints("ports: [{port: 1}]", "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`\n"),
      endpoints("addresses: [{ip: a}]", "subsets[0].addresses[0].ip: Invalid value: \"a\": must be a valid IP address"),
      endpoints("addresses: [{ip: 127.0.0.1}]", "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be"),
      endpoints("notReadyAddresses: [{ip: 169.254.1.1}]",
                "subsets[0].notReadyAddresses[0].ip: Invalid value: \"169.254.1.1\": may not be in the link-local"),
      endpoints("addresses: [{ip: '::'}]", "subsets[0].addresses[0].ip: Invalid value: \"::\": may not be unspecified"),
      endpoints("addresses: [{ip: 10.0.0.1}], ports: [{port: 0}]", "subsets[0].ports[0].port: Invalid value: 0: must"),
      endpoints("addresses: [{ip: 10.0.0.1}], ports: [{port: 1}, {name: a, port: 2}]",
                "subsets[0].ports[0].name: Required value\n"),
  });
}

BOOST_AUTO_TEST_CASE(config_maps_and_secrets) {
  const std::string big(600'000, 'x');
  check({
      config_map("data: {a/b: c}", "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of"),
      config_map("data: {..a: c}", "data[..a]: Invalid value: \"..a\": must not start with '..'\n"),
      config_map("data: {a: b}, binaryData: {a: ''}",
                 "data[a]: Invalid value: \"a\": duplicate of key present in "
                 "binaryData\n"),
      config_map("data: {a: " + big + ", b: " + big + "}", "data: Too long: may not be more than 1048576 bytes\n"),
      secret("stringData: {'a b': c}", "data[a b]: Invalid value: \"a b\": a valid config key"),
      secret("stringData: {a: " + big + ", b: " + big + "}", "data: Too long: may not be more than 1048576 bytes\n"),
      secret("type: kubernetes.io/tls, stringData: {tls.crt: a}", "data[tls.key]: Required value\n"),
      secret("type: kubernetes.io/ssh-auth", "data[ssh-privatekey]: Required value\n"),
      secret("type: kubernetes.io/dockerconfigjson", "data[.dockerconfigjson]: Required value\n"),
      secret("type: kubernetes.io/dockerconfigjson, stringData: {.dockerconfigjson: '{secret'}",
             "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid JSON: "),
      secret("type: kubernetes.io/service-account-token",
             "metadata.annotations[kubernetes.io/service-account.name]: Required value\n"),
  });
}

BOOST_AUTO_TEST_CASE(resources_built_in_code_are_checked_too) {
  Pod pod = pod_of("");
  pod.spec.containers[0].resources.limits["cpu"] = Quantity{"much"};
  BOOST_TEST(errors_of(pod).find("spec.containers[0].resources.limits[cpu]: Invalid value: \"much\": quantities must "
                                 "match the regular expression") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
