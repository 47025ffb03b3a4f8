// Defaults, preparation and validation of what comes in through the API server.
#include <boost/test/unit_test.hpp>

#include "api/resource.h"

using namespace keelson;

BOOST_AUTO_TEST_SUITE(admission_tests)

namespace {

template <typename T>
api::AnyObject object_of(std::string_view json) {
  auto read = api::read_json_object(api::resource_of<T>(), json);
  BOOST_REQUIRE_MESSAGE(read, read.error().message);
  api::set_defaults(read->object);
  return std::move(read->object);
}

template <typename T>
api::AnyObject created(std::string_view json) {
  api::AnyObject object = object_of<T>(json);
  api::prepare_create(object);
  return object;
}

std::string text(const std::vector<api::FieldError>& errors) {
  std::string out;
  for (const auto& error : errors) out += error.field + ": " + error.message + "\n";
  return out;
}

constexpr std::string_view kPod =
    R"({"metadata":{"name":"web","namespace":"default"},"spec":{"containers":[{"name":"c","image":"web:1"}]}})";
constexpr std::string_view kController = R"({"metadata":{"name":"web","namespace":"default"},"spec":{"template":
  {"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"web:1"}]}}}})";

}  // namespace

BOOST_AUTO_TEST_CASE(a_new_pod_gets_what_kubernetes_gives_it) {
  const api::AnyObject object = created<api::Pod>(kPod);
  const auto& pod = *object.get_if<api::Pod>();
  BOOST_TEST(text(api::validate_create(object)) == "");
  BOOST_TEST(pod.status.phase == "Pending");
  BOOST_TEST(pod.status.qos_class == "BestEffort");
  BOOST_TEST(pod.spec.service_account_name == "default");
  BOOST_TEST(pod.spec.service_account == "default");
  BOOST_TEST(*pod.spec.priority == 0);
  BOOST_TEST(pod.spec.preemption_policy == "PreemptLowerPriority");
  BOOST_REQUIRE_EQUAL(pod.spec.tolerations.size(), 2U);
  BOOST_TEST(pod.spec.tolerations[0].key == "node.kubernetes.io/not-ready");
  BOOST_TEST(*pod.spec.tolerations[1].toleration_seconds == 300);
  BOOST_TEST(api::encode_json(object).find(R"("securityContext":{})") != std::string::npos);
  api::AnyObject again = object;
  api::set_defaults(again);
  api::prepare_create(again);
  BOOST_TEST((again == object));
}

BOOST_AUTO_TEST_CASE(a_new_replication_controller_takes_selector_and_labels_from_its_template) {
  const api::AnyObject object = created<api::ReplicationController>(kController);
  const auto& controller = *object.get_if<api::ReplicationController>();
  BOOST_TEST(text(api::validate_create(object)) == "");
  BOOST_TEST(*controller.spec.replicas == 1);
  BOOST_TEST(controller.spec.selector.at("app") == "web");
  BOOST_TEST(controller.metadata.labels.at("app") == "web");
  BOOST_TEST(controller.spec.template_->spec.restart_policy == "Always");
  BOOST_TEST(*controller.metadata.generation == 1);
}

BOOST_AUTO_TEST_CASE(a_new_node_is_tainted_and_a_new_namespace_has_its_finalizer) {
  const api::AnyObject node = created<api::Node>(R"({"metadata":{"name":"n1"},"status":{"capacity":{"cpu":"2"}}})");
  BOOST_TEST(node.get_if<api::Node>()->spec.taints.at(0).key == "node.kubernetes.io/not-ready");
  BOOST_TEST(node.get_if<api::Node>()->status.allocatable.at("cpu").text == "2");
  BOOST_TEST(text(api::validate_create(node)) == "");
  const api::AnyObject space = created<api::Namespace>(R"({"metadata":{"name":"blue"}})");
  BOOST_TEST(space.get_if<api::Namespace>()->spec.finalizers.at(0) == "kubernetes");
  BOOST_TEST(space.get_if<api::Namespace>()->status.phase == "Active");
  BOOST_TEST(space.metadata().labels.at("kubernetes.io/metadata.name") == "blue");
}

BOOST_AUTO_TEST_CASE(metadata_is_refused_in_kubernetes_words) {
  const auto refused = [](std::string_view metadata) {
    return text(
        api::validate_create(object_of<api::ConfigMap>(std::string(R"({"metadata":)") + std::string(metadata) + "}")));
  };
  BOOST_TEST(refused(R"({"namespace":"a"})") == "metadata.name: Required value: name or generateName is required\n");
  BOOST_TEST(refused(R"({"namespace":"a","name":"a-x7k2p","generateName":"a-"})") == "");
  BOOST_TEST(refused(R"({"namespace":"a","name":"Web"})").starts_with("metadata.name: Invalid value: \"Web\": "));
  BOOST_TEST(refused(R"({"namespace":"a","name":"b","finalizers":["mine"]})") ==
             "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it "
             "fully qualified\n");
  BOOST_TEST(
      refused(R"({"namespace":"a","name":"b","ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p"}]})") ==
      "metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty\n");
  BOOST_TEST(refused(R"({"namespace":"a","name":"b","ownerReferences":[
      {"apiVersion":"v1","kind":"Pod","name":"p","uid":"1","controller":true},
      {"apiVersion":"v1","kind":"Pod","name":"q","uid":"2","controller":true}]})")
                 .find("Only one reference can have Controller set to true. Found \"true\" in references for Pod/p and "
                       "Pod/q") != std::string::npos);
  BOOST_TEST(text(api::validate_create(object_of<api::Node>(R"({"metadata":{"name":"n","namespace":"a"}})"))) ==
             "metadata.namespace: Forbidden: not allowed on this type\n");
}

BOOST_AUTO_TEST_CASE(new_kinds_are_refused_in_kubernetes_words) {
  BOOST_TEST(text(api::validate_create(object_of<api::ReplicationController>(
                 R"({"metadata":{"name":"a","namespace":"b"},"spec":{"replicas":-1}})"))) ==
             "spec.selector: Required value\nspec.replicas: Invalid value: -1: must be greater than or equal to "
             "0\nspec.template: Required value\n");
  BOOST_TEST(text(api::validate_create(object_of<api::ReplicationController>(
                 R"({"metadata":{"name":"a","namespace":"b"},"spec":{"selector":{"x":"y"},"template":{"metadata":
                 {"labels":{"a":"b"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":""}]}}}})"))) ==
             "spec.template.metadata.labels: Invalid value: map[string]string{\"a\":\"b\"}: `selector` does not match "
             "template `labels`\nspec.template.spec.containers[0].image: Required value\n"
             "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"\n");
  BOOST_TEST(
      text(api::validate_create(object_of<api::EndpointSlice>(
          R"({"metadata":{"name":"a","namespace":"b"},"addressType":"IPv4","endpoints":[{"addresses":["fd00::1"]},{}]})"))) ==
      "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be a valid IPv4 address\n"
      "endpoints[1].addresses: Required value: must contain at least 1 address\n");
  BOOST_TEST(text(api::validate_create(object_of<api::Lease>(
                 R"({"metadata":{"name":"a","namespace":"b"},"spec":{"leaseDurationSeconds":0}})"))) ==
             "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0\n");
  BOOST_TEST(text(api::validate_create(object_of<api::Event>(
                 R"({"metadata":{"name":"a","namespace":"b"},"involvedObject":{"namespace":"c"}})"))) ==
             "involvedObject.namespace: Invalid value: \"c\": does not match event.namespace\n");
  BOOST_TEST(text(api::validate_create(object_of<api::Node>(
                 R"({"metadata":{"name":"n"},"spec":{"taints":[{"key":"a","effect":"Sometimes"}]}})"))) ==
             "spec.taints[0].effect: Unsupported value: \"Sometimes\": supported values: \"NoSchedule\", "
             "\"PreferNoSchedule\", \"NoExecute\"\n");
}

BOOST_AUTO_TEST_CASE(a_pod_update_may_change_image_deadline_and_added_tolerations_only) {
  const api::AnyObject current = created<api::Pod>(kPod);
  const auto update = [&](auto change) {
    api::AnyObject next = current;
    change(*next.get_if<api::Pod>());
    api::prepare_update(next, current);
    return text(api::validate_update(next, current));
  };
  BOOST_TEST(update([](api::Pod& pod) { pod.spec.containers[0].image = "web:2"; }) == "");
  BOOST_TEST(update([](api::Pod& pod) { pod.spec.active_deadline_seconds = 5; }) == "");
  BOOST_TEST(update([](api::Pod& pod) { pod.spec.tolerations.push_back({.key = "x", .operator_ = "Exists"}); }) == "");
  BOOST_TEST(update([](api::Pod& pod) { pod.spec.tolerations[0].toleration_seconds = 5; }) == "");
  BOOST_TEST(update([](api::Pod& pod) { pod.status.phase = "Failed"; }) == "");
  BOOST_TEST(update([](api::Pod& pod) { pod.spec.tolerations.erase(pod.spec.tolerations.begin()); }) ==
             "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds\n");
  BOOST_TEST(
      update([](api::Pod& pod) {
        pod.spec.hostname = "x";
      }).starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"));
  BOOST_TEST(update([](api::Pod& pod) {
               pod.spec.containers.push_back(pod.spec.containers[0]);
             }).starts_with("spec.containers: Forbidden: pod updates may not add or remove containers\n"));
  BOOST_TEST(update([](api::Pod& pod) { pod.metadata.uid = "other"; }) ==
             "metadata.uid: Invalid value: \"other\": field is immutable\n");
}

BOOST_AUTO_TEST_CASE(what_never_changes_is_refused) {
  const auto update = [](const api::AnyObject& current, auto change) {
    api::AnyObject next = current;
    change(next);
    api::prepare_update(next, current);
    return text(api::validate_update(next, current));
  };
  const api::AnyObject service = object_of<api::Service>(
      R"({"metadata":{"name":"s","namespace":"d"},"spec":{"clusterIP":"10.96.0.10","type":"NodePort",
          "ports":[{"port":80,"nodePort":30080}]}})");
  BOOST_TEST(update(service, [](api::AnyObject& o) {
               auto& spec = o.get_if<api::Service>()->spec;
               spec.cluster_ip = "10.96.0.11";
               spec.cluster_ips = {"10.96.0.11"};
             }) == "spec.clusterIPs[0]: Invalid value: []string{\"10.96.0.11\"}: may not change once set\n");
  api::AnyObject as_first_written = service;
  as_first_written.get_if<api::Service>()->spec.cluster_ip.clear();
  as_first_written.get_if<api::Service>()->spec.cluster_ips.clear();
  as_first_written.get_if<api::Service>()->spec.ports[0].node_port.reset();
  api::prepare_update(as_first_written, service);
  BOOST_TEST((as_first_written == service));

  const api::AnyObject secret = object_of<api::Secret>(R"({"metadata":{"name":"s","namespace":"d"}})");
  BOOST_TEST(update(secret, [](api::AnyObject& o) { o.get_if<api::Secret>()->type = "x/y"; }) ==
             "type: Invalid value: \"x/y\": field is immutable\n");
  const api::AnyObject frozen =
      object_of<api::ConfigMap>(R"({"metadata":{"name":"s","namespace":"d"},"immutable":true,"data":{"a":"b"}})");
  BOOST_TEST(update(frozen, [](api::AnyObject& o) { o.get_if<api::ConfigMap>()->data["a"] = "c"; }) ==
             "data: Forbidden: field is immutable when `immutable` is set\n");
  api::AnyObject dying = frozen;
  dying.metadata().deletion_timestamp = api::Time{1};
  BOOST_TEST(update(dying, [](api::AnyObject& o) { o.metadata().finalizers = {"a/b"}; }) ==
             "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new "
             "finalizers []string{\"a/b\"}\n");
}

BOOST_AUTO_TEST_CASE(status_and_spec_are_changed_by_their_own_resource_only) {
  const api::AnyObject current = created<api::ReplicationController>(kController);
  api::AnyObject next = current;
  next.get_if<api::ReplicationController>()->spec.replicas = 5;
  next.get_if<api::ReplicationController>()->status.replicas = 9;
  api::AnyObject main = next;
  api::prepare_update(main, current);
  BOOST_TEST(*main.get_if<api::ReplicationController>()->spec.replicas == 5);
  BOOST_TEST(main.get_if<api::ReplicationController>()->status.replicas == 0);
  BOOST_TEST(*main.metadata().generation == 2);
  api::AnyObject status = next;
  api::prepare_status_update(status, current);
  BOOST_TEST(*status.get_if<api::ReplicationController>()->spec.replicas == 1);
  BOOST_TEST(status.get_if<api::ReplicationController>()->status.replicas == 9);
  BOOST_TEST(*status.metadata().generation == 1);
}

BOOST_AUTO_TEST_CASE(an_invalid_object_is_answered_with_a_status_that_names_each_cause) {
  const std::vector<api::FieldError> errors = {
      {"spec.replicas", "Invalid value: -1: must be greater than or equal to 0"}, {"spec.template", "Required value"}};
  const api::Status status = api::invalid_status(api::resource_of<api::ReplicationController>(), "web", errors);
  BOOST_TEST(status.message ==
             "ReplicationController \"web\" is invalid: [spec.replicas: Invalid value: -1: must be greater than or "
             "equal to 0, spec.template: Required value]");
  BOOST_TEST(*status.code == 422);
  BOOST_TEST(status.details->kind == "ReplicationController");
  BOOST_REQUIRE_EQUAL(status.details->causes.size(), 2U);
  BOOST_TEST(status.details->causes[0].reason == "FieldValueInvalid");
  BOOST_TEST(status.details->causes[1].reason == "FieldValueRequired");
  BOOST_TEST(status.details->causes[1].field == "spec.template");
}

BOOST_AUTO_TEST_SUITE_END()
