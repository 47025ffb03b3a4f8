#include <boost/test/unit_test.hpp>

#include "test/unit/api/manifest_of.h"

BOOST_AUTO_TEST_SUITE(defaults_tests)

using namespace keelson::api;

namespace {

Service service_of(std::string_view spec) { return std::get<Service>(object_of(service_text(spec))); }

std::string pull_policy(const std::string& image) {
  Pod pod;
  pod.spec.containers.emplace_back().image = image;
  Object object = pod;
  set_defaults(object);
  return std::get<Pod>(object).spec.containers[0].image_pull_policy;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_pod_gets_what_the_api_server_would_fill_in) {
  const Pod pod = pod_of("ports: [{containerPort: 80}]");
  BOOST_TEST(pod.metadata.namespace_ == "default");
  BOOST_TEST(pod.spec.restart_policy == "Always");
  BOOST_TEST(pod.spec.dns_policy == "ClusterFirst");
  BOOST_TEST(pod.spec.scheduler_name == "default-scheduler");
  BOOST_TEST(pod.spec.termination_grace_period_seconds.value() == 30);
  BOOST_TEST(pod.spec.enable_service_links.value());
  BOOST_TEST(pod.spec.security_context.has_value());
  const Container& container = pod.spec.containers.at(0);
  BOOST_TEST(container.termination_message_path == "/dev/termination-log");
  BOOST_TEST(container.termination_message_policy == "File");
  BOOST_TEST(container.image_pull_policy == "Always");
  BOOST_TEST(container.ports.at(0).protocol == "TCP");
  BOOST_TEST(!container.ports.at(0).host_port);
}

BOOST_AUTO_TEST_CASE(what_is_set_is_kept) {
  const Pod pod = pod_of("imagePullPolicy: Never, terminationMessagePath: /x",
                         "restartPolicy: Never, terminationGracePeriodSeconds: 0, enableServiceLinks: false");
  BOOST_TEST(pod.spec.restart_policy == "Never");
  BOOST_TEST(pod.spec.termination_grace_period_seconds.value() == 0);
  BOOST_TEST(!pod.spec.enable_service_links.value());
  BOOST_TEST(pod.spec.containers.at(0).image_pull_policy == "Never");
  BOOST_TEST(pod.spec.containers.at(0).termination_message_path == "/x");
}

BOOST_AUTO_TEST_CASE(pull_policy_follows_the_tag) {
  BOOST_TEST(pull_policy("nginx") == "Always");
  BOOST_TEST(pull_policy("nginx:latest") == "Always");
  BOOST_TEST(pull_policy("nginx:1") == "IfNotPresent");
  BOOST_TEST(pull_policy("host:5000/nginx") == "Always");
  BOOST_TEST(pull_policy("host:5000/nginx:1") == "IfNotPresent");
  BOOST_TEST(pull_policy("nginx@sha256:aa") == "IfNotPresent");
  BOOST_TEST(pull_policy("nginx:latest@sha256:aa") == "Always");
}

BOOST_AUTO_TEST_CASE(probes_and_hooks_get_their_numbers) {
  const Pod pod = pod_of(
      "livenessProbe: {httpGet: {port: 80}, timeoutSeconds: 0}, readinessProbe: {tcpSocket: {port: 1}, periodSeconds: "
      "3, "
      "failureThreshold: 7}, lifecycle: {preStop: {httpGet: {port: 1, path: /x}}}");
  const Container& container = pod.spec.containers.at(0);
  const Probe& liveness = *container.liveness_probe;
  BOOST_TEST(liveness.handler.http_get->path == "/");
  BOOST_TEST(liveness.handler.http_get->scheme == "HTTP");
  BOOST_TEST(liveness.timeout_seconds.value() == 1);
  BOOST_TEST(liveness.period_seconds.value() == 10);
  BOOST_TEST(liveness.success_threshold.value() == 1);
  BOOST_TEST(liveness.failure_threshold.value() == 3);
  BOOST_TEST(container.readiness_probe->period_seconds.value() == 3);
  BOOST_TEST(container.readiness_probe->failure_threshold.value() == 7);
  BOOST_TEST(container.lifecycle->pre_stop->http_get->path == "/x");
  BOOST_TEST(container.lifecycle->pre_stop->http_get->scheme == "HTTP");
}

BOOST_AUTO_TEST_CASE(requests_follow_limits) {
  const Pod pod = pod_of("resources: {limits: {cpu: 2, memory: 1Gi}, requests: {cpu: 1}}");
  const auto& requests = pod.spec.containers.at(0).resources.requests;
  BOOST_TEST(requests.at("cpu").text == "1");
  BOOST_TEST(requests.at("memory").text == "1Gi");
}

BOOST_AUTO_TEST_CASE(host_ports_of_a_host_network_pod_equal_its_ports) {
  const Pod pod = pod_of("ports: [{containerPort: 80}]", "hostNetwork: true");
  BOOST_TEST(pod.spec.containers.at(0).ports.at(0).host_port.value() == 80);
}

BOOST_AUTO_TEST_CASE(volumes_get_modes_and_a_source) {
  const Pod pod =
      pod_of("",
             "volumes: [{name: a}, {name: b, configMap: {name: m}}, {name: c, secret: {secretName: s, "
             "defaultMode: 256}}, {name: d, projected: {sources: [{downwardAPI: {items: [{path: p, fieldRef: "
             "{fieldPath: metadata.name}}]}}]}}, {name: e, downwardAPI: {}}]");
  BOOST_TEST(pod.spec.volumes.at(0).source.empty_dir.has_value());
  BOOST_TEST(pod.spec.volumes.at(1).source.config_map->default_mode.value() == 0644);
  BOOST_TEST(pod.spec.volumes.at(2).source.secret->default_mode.value() == 0400);
  BOOST_TEST(pod.spec.volumes.at(3).source.projected->default_mode.value() == 0644);
  BOOST_TEST(pod.spec.volumes.at(3).source.projected->sources.at(0).downward_api->items.at(0).field_ref->api_version ==
             "v1");
  BOOST_TEST(pod.spec.volumes.at(4).source.downward_api->default_mode.value() == 0644);
}

BOOST_AUTO_TEST_CASE(a_service_gets_what_the_api_server_would_fill_in) {
  const Service service = service_of("ports: [{port: 80}, {name: b, port: 81, targetPort: http}]");
  BOOST_TEST(service.spec.type == "ClusterIP");
  BOOST_TEST(service.spec.session_affinity == "None");
  BOOST_TEST(service.spec.internal_traffic_policy == "Cluster");
  BOOST_TEST(service.spec.external_traffic_policy == "");
  BOOST_TEST(service.spec.ports.at(0).protocol == "TCP");
  BOOST_TEST(service.spec.ports.at(0).target_port->number == 80);
  BOOST_TEST(service.spec.ports.at(1).target_port->text == "http");
  BOOST_TEST(service_of("type: NodePort, ports: [{port: 1}]").spec.external_traffic_policy == "Cluster");
  const Service sticky = service_of("sessionAffinity: ClientIP, clusterIP: 10.0.0.1, ports: [{port: 1}]");
  BOOST_TEST(sticky.spec.session_affinity_config->client_ip->timeout_seconds.value() == 10800);
  BOOST_TEST(sticky.spec.cluster_ips.at(0) == "10.0.0.1");
}

BOOST_AUTO_TEST_CASE(string_data_of_a_secret_is_merged_into_its_data) {
  const auto secret = std::get<Secret>(object_of(
      "{apiVersion: v1, kind: Secret, metadata: {name: a}, data: {a: YQ==, b: YQ==}, stringData: {b: text}}"));
  BOOST_TEST(secret.type == "Opaque");
  BOOST_TEST(secret.data.at("a").data == "a");
  BOOST_TEST(secret.data.at("b").data == "text");
  BOOST_TEST(secret.string_data.empty());
}

BOOST_AUTO_TEST_CASE(defaults_set_twice_are_the_same) {
  Object object = pod_of("livenessProbe: {httpGet: {port: 80}}, resources: {limits: {cpu: 1}}", "volumes: [{name: a}]");
  const Object once = object;
  set_defaults(object);
  BOOST_TEST((object == once));
}

BOOST_AUTO_TEST_CASE(qos_follows_requests_and_limits) {
  const auto qos = [](std::string_view container, std::string_view spec = "") {
    return qos_class(pod_of(container, spec));
  };
  BOOST_TEST(qos("") == "BestEffort");
  BOOST_TEST(qos("resources: {requests: {cpu: 0}}") == "BestEffort");
  BOOST_TEST(qos("resources: {requests: {example.com/x: 1}}") == "BestEffort");
  BOOST_TEST(qos("resources: {requests: {cpu: 1m}}") == "Burstable");
  BOOST_TEST(qos("resources: {limits: {cpu: 1}}") == "Burstable");
  BOOST_TEST(qos("resources: {limits: {cpu: 1, memory: 1Gi}}") == "Guaranteed");
  BOOST_TEST(qos("resources: {limits: {cpu: 1000m, memory: 1Gi}, requests: {cpu: 1, memory: 1024Mi}}") == "Guaranteed");
  BOOST_TEST(qos("resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}") == "Burstable");
  BOOST_TEST(qos("resources: {limits: {cpu: 1e60, memory: 1e60}}",
                 "initContainers: [{name: i, image: a, resources: {limits: {cpu: 1e60, memory: 1e60}}}]") ==
             "Guaranteed");
  BOOST_TEST(qos("resources: {limits: {cpu: 1, memory: 1Gi}}", "initContainers: [{name: i, image: a}]") == "Burstable");
}

BOOST_AUTO_TEST_CASE(selectors_match_labels) {
  const std::map<std::string, std::string> labels = {{"app", "web"}, {"tier", "front"}};
  const auto equal = [&](std::map<std::string, std::string> selector) { return matches(selector, labels); };
  BOOST_TEST(equal({}));
  BOOST_TEST(equal({{"app", "web"}}));
  BOOST_TEST(!equal({{"app", "web"}, {"tier", "back"}}));
  BOOST_TEST(!equal({{"none", ""}}));
  const auto expression = [&](std::string key, std::string op, std::vector<std::string> values) {
    LabelSelector selector;
    selector.match_expressions.push_back({std::move(key), std::move(op), std::move(values)});
    return matches(selector, labels);
  };
  BOOST_TEST(expression("app", "In", {"db", "web"}));
  BOOST_TEST(!expression("app", "In", {"db"}));
  BOOST_TEST(!expression("none", "In", {""}));
  BOOST_TEST(!expression("app", "NotIn", {"web"}));
  BOOST_TEST(expression("none", "NotIn", {"web"}));
  BOOST_TEST(expression("app", "Exists", {}));
  BOOST_TEST(!expression("none", "Exists", {}));
  BOOST_TEST(expression("none", "DoesNotExist", {}));
  BOOST_TEST(!expression("app", "DoesNotExist", {}));
  BOOST_TEST(!expression("app", "Like", {"web"}));
}

BOOST_AUTO_TEST_SUITE_END()
