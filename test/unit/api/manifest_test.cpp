#include <boost/test/unit_test.hpp>

#include "api/codec.h"
#include "api/validate.h"

BOOST_AUTO_TEST_SUITE(manifest_tests)

using namespace keelson::api;

namespace {

// The only object of a text that has no problems.
template <typename T>
T only(std::string_view text) {
  Manifest manifest = decode_manifest(text);
  for (const auto& problem : manifest.problems) BOOST_ERROR(problem.field + ": " + problem.message);
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 1);
  return std::get<T>(std::move(manifest.objects[0].object));
}

// "line field: message" of the only problem.
std::string problem(std::string_view text) {
  const Manifest manifest = decode_manifest(text);
  BOOST_REQUIRE_EQUAL(manifest.problems.size(), 1);
  const Problem& only = manifest.problems[0];
  return std::to_string(only.origin.line) + " " + only.field + ": " + only.message;
}

std::map<std::string, std::string> data(std::string_view lines) {
  return only<ConfigMap>("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n" + std::string(lines)).data;
}

}  // namespace

BOOST_AUTO_TEST_CASE(several_documents_are_read_with_their_lines) {
  const Manifest manifest = decode_manifest(R"(# nothing yet
---
apiVersion: v1
kind: ConfigMap
metadata: {name: a, namespace: one}
---
---   
apiVersion: v1
kind: Secret
metadata: {name: b}
)");
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 2);
  BOOST_TEST(manifest.problems.empty());
  BOOST_TEST(manifest.objects[0].line == 3);
  BOOST_TEST(manifest.objects[1].line == 8);
  BOOST_TEST(to_string(key_of(manifest.objects[0].object)) == "ConfigMap one/a");
  BOOST_TEST(to_string(key_of(manifest.objects[1].object)) == "Secret default/b");
}

BOOST_AUTO_TEST_CASE(a_broken_document_does_not_take_the_others_with_it) {
  const Manifest manifest = decode_manifest(
      "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: [\n---\napiVersion: v1\nkind: ConfigMap\n"
      "metadata: {name: c}\n");
  BOOST_TEST(manifest.objects.size() == 2);
  BOOST_REQUIRE_EQUAL(manifest.problems.size(), 1);
  BOOST_TEST(manifest.problems[0].origin.line >= 5);
  BOOST_TEST(manifest.problems[0].origin.line <= 6);
  BOOST_TEST(manifest.problems[0].message.starts_with("invalid YAML: "));
}

BOOST_AUTO_TEST_CASE(lists_are_taken_apart) {
  const Manifest manifest = decode_manifest(R"(
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Pod, metadata: {name: a}}
- apiVersion: v1
  kind: ServiceList
  items:
  - metadata: {name: b}
  - {kind: Service, apiVersion: v1, metadata: {name: c}}
- {apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}
)");
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 3);
  BOOST_TEST(to_string(key_of(manifest.objects[1].object)) == "Service default/b");
  BOOST_TEST(manifest.objects[2].line == 10);
  BOOST_REQUIRE_EQUAL(manifest.problems.size(), 1);
  BOOST_TEST(manifest.problems[0].object == "Deployment default/d");
  BOOST_TEST(manifest.problems[0].origin.line == 11);
}

BOOST_AUTO_TEST_CASE(json_is_read_alone_in_lists_and_one_after_the_other) {
  const Manifest manifest = decode_manifest(
      "{\"apiVersion\":\"v1\",\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"name\":\"a\"}}]}\n"
      "---\n{\"apiVersion\":\"v1\",\n \"kind\":\"Pod\",\"metadata\":{\"name\":\"b\"},\n \"spek\":1}");
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 2);
  BOOST_TEST(manifest.problems.empty());
  BOOST_REQUIRE_EQUAL(manifest.objects[1].warnings.size(), 1);
  BOOST_TEST(manifest.objects[1].warnings[0].origin.line == 5);
}

BOOST_AUTO_TEST_CASE(yaml_in_flow_style_is_not_taken_for_broken_json) {
  BOOST_TEST(only<Pod>("{apiVersion: v1, kind: Pod, metadata: {name: a}}").metadata.name == "a");
  BOOST_TEST(problem("{\"apiVersion\": \"v1\"\n\"kind\": 1]").starts_with("2 : invalid JSON: "));
}

BOOST_AUTO_TEST_CASE(unknown_kinds_are_named) {
  BOOST_TEST(problem("apiVersion: apps/v1\nkind: Pod\nmetadata: {name: a}")
                 .find("no kind \"Pod\" is known in version "
                       "\"apps/v1\"") != std::string::npos);
  BOOST_TEST(problem("kind: Pod") == "1 apiVersion: Required value: such as v1");
  BOOST_TEST(problem("apiVersion: v1") == "1 kind: Required value: such as Pod");
  BOOST_TEST(problem("- a\n").find("must be an object") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(unknown_fields_are_warnings_with_path_and_line) {
  const Manifest manifest = decode_manifest(R"(apiVersion: v1
kind: Pod
metadata:
  name: web
spec:
  containers:
  - name: web
    imagee: nginx
    livenessProbe:
      httpGet: {port: 80, pth: /}
)");
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 1);
  const auto& warnings = manifest.objects[0].warnings;
  BOOST_REQUIRE_EQUAL(warnings.size(), 2);
  BOOST_TEST(warnings[0].field == "spec.containers[0].imagee");
  BOOST_TEST(warnings[0].message == "unknown field \"spec.containers[0].imagee\"");
  BOOST_TEST(warnings[0].origin.line == 8);
  BOOST_TEST(warnings[0].object == "Pod default/web");
  BOOST_TEST((warnings[0].severity == Problem::Severity::warning));
  BOOST_TEST(warnings[1].field == "spec.containers[0].livenessProbe.httpGet.pth");
  BOOST_TEST(warnings[1].origin.line == 10);
}

BOOST_AUTO_TEST_CASE(line_of_a_field_or_of_the_closest_one_around_it) {
  const Manifest manifest = decode_manifest(R"(
apiVersion: v1
kind: Pod
metadata:
  name: web
  labels:
    app: web
spec:
  containers:
  - image: a
  - image: b
    ports:
    - containerPort: 1
)");
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 1);
  const Decoded& pod = manifest.objects[0];
  BOOST_TEST(pod.line_of("spec.containers[1].ports[0].containerPort") == 13);
  BOOST_TEST(pod.line_of("spec.containers[1].ports[0].protocol") == 13);
  BOOST_TEST(pod.line_of("spec.containers[1].name") == 11);
  BOOST_TEST(pod.line_of("metadata.labels[app]") == 7);
  BOOST_TEST(pod.line_of("metadata.namespace") == 4);
  BOOST_TEST(pod.line_of("status") == 2);
}

BOOST_AUTO_TEST_CASE(plain_scalars_mean_what_they_mean_to_kubectl) {
  const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata: {name: a}
spec: {hostNetwork: yes, hostPID: Off, hostIPC: y, terminationGracePeriodSeconds: 1e1, activeDeadlineSeconds: 0x10,
  priority: 1_000, volumes: [{name: v, configMap: {name: c, defaultMode: 0644}}]}
)");
  BOOST_TEST(pod.spec.host_network.value());
  BOOST_TEST(!pod.spec.host_pid.value());
  BOOST_TEST(pod.spec.host_ipc.value());
  BOOST_TEST(pod.spec.termination_grace_period_seconds.value() == 10);
  BOOST_TEST(pod.spec.active_deadline_seconds.value() == 16);
  BOOST_TEST(pod.spec.priority.value() == 1000);
  BOOST_TEST(pod.spec.volumes.at(0).source.config_map->default_mode.value() == 0644);
}

BOOST_AUTO_TEST_CASE(keys_are_text_whatever_they_look_like) {
  const auto found = data("data: {8080: a, on: b, 1.50: c, 2001-01-01: d, 010: e, 'yes': f}\n");
  const std::map<std::string, std::string> expected = {{"8080", "a"},       {"true", "b"}, {"1.5", "c"},
                                                       {"2001-01-01", "d"}, {"8", "e"},    {"yes", "f"}};
  BOOST_TEST((found == expected));
}

BOOST_AUTO_TEST_CASE(a_number_is_no_string_and_a_string_no_number) {
  const std::string head = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n";
  BOOST_TEST(problem(head + "  containers:\n  - name: 5\n") ==
             "6 spec.containers[0].name: cannot unmarshal number into Go struct field Container.name of type string: "
             "write it in quotes");
  BOOST_TEST(problem(head + "  hostNetwork: \"true\"\n") ==
             "5 spec.hostNetwork: cannot unmarshal string into Go struct field PodSpec.hostNetwork of type bool");
  BOOST_TEST(problem(head + "  priority: 3000000000\n").find("cannot unmarshal number 3000000000") !=
             std::string::npos);
  BOOST_TEST(problem(head + "  priority: 1.5\n").find("cannot unmarshal number into") != std::string::npos);
  BOOST_TEST(problem(head + "  containers: {}\n")
                 .find("cannot unmarshal object into Go struct field "
                       "PodSpec.containers of type []Container") != std::string::npos);
  BOOST_TEST(problem("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: on}\n") ==
             "4 data[a]: cannot unmarshal bool into Go struct field ConfigMap.data of type string: write it in quotes");
}

BOOST_AUTO_TEST_CASE(every_mistake_of_a_document_is_told_at_once) {
  const Manifest manifest = decode_manifest(
      "apiVersion: v1\nkind: Pod\nmetadata: {name: 1}\nspec:\n  containers:\n  - image: 2\n    tty: 3\n");
  BOOST_TEST(manifest.objects.empty());
  BOOST_TEST(manifest.problems.size() == 3);
}

BOOST_AUTO_TEST_CASE(a_key_twice_is_an_error) {
  BOOST_TEST(problem("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  name: b\n") ==
             "5 metadata.name: key \"name\" already set in map");
  BOOST_TEST(problem("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: a\n  k: b\n") ==
             "6 data[k]: key \"k\" already set in map");
  BOOST_TEST(problem(R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","name":"b"}})") ==
             "1 metadata.name: key \"name\" already set in map");
}

BOOST_AUTO_TEST_CASE(anchors_aliases_and_merge_keys_work) {
  const auto found = data(R"(data:
  <<: &base {a: "1", b: "2"}
  b: "3"
  c: &text "4"
  d: *text
)");
  const std::map<std::string, std::string> expected = {{"a", "1"}, {"b", "3"}, {"c", "4"}, {"d", "4"}};
  BOOST_TEST((found == expected));
  const auto pod = only<Pod>(R"(
apiVersion: v1
kind: Pod
metadata: {name: a}
spec:
  containers:
  - &c {name: a, image: i}
  - {<<: *c, name: b}
)");
  BOOST_TEST(pod.spec.containers.at(1).name == "b");
  BOOST_TEST(pod.spec.containers.at(1).image == "i");
}

BOOST_AUTO_TEST_CASE(block_scalars_keep_their_lines) {
  const auto found = data("data:\n  script: |\n    #!/bin/sh\n    echo yes\n  folded: >-\n    a\n    b\n");
  BOOST_TEST(found.at("script") == "#!/bin/sh\necho yes\n");
  BOOST_TEST(found.at("folded") == "a b");
}

BOOST_AUTO_TEST_CASE(null_is_absent) {
  const auto pod = only<Pod>(
      "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: null, creationTimestamp: null}\nspec:\n  containers: "
      "~\n");
  BOOST_TEST(pod.spec.containers.empty());
  BOOST_TEST(!pod.metadata.creation_timestamp);
}

BOOST_AUTO_TEST_CASE(base64_is_read_and_written) {
  const auto secret = only<Secret>(
      "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: aGVsbG8=, b: '', c: AP8=, d: !!binary aGk=}\n");
  BOOST_TEST(secret.data.at("a").data == "hello");
  BOOST_TEST(secret.data.at("b").data.empty());
  BOOST_TEST(secret.data.at("c").data == std::string("\0\xff", 2));
  BOOST_TEST(secret.data.at("d").data == "hi");
  BOOST_TEST(encode_json(secret).find(R"("a":"aGVsbG8=","b":"","c":"AP8=","d":"aGk=")") != std::string::npos);
  for (const char* text : {"a", "aGVsbG8", "aGVsbG8==", "a===", "aG=sbG8=", "aGVs bG8=", "aGVsbG8=aGVs"}) {
    BOOST_TEST(!decode_json<Secret>(std::string(R"({"data":{"a":")") + text + R"("}})"), text);
  }
}

BOOST_AUTO_TEST_CASE(empty_fields_are_printed_as_go_prints_them) {
  Pod pod;
  pod.metadata.name = "a";
  pod.spec.containers.emplace_back().name = "c";
  pod.spec.host_network = false;
  pod.spec.enable_service_links = false;
  BOOST_TEST(encode_json(pod) ==
             R"({"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","creationTimestamp":null},"spec":{"containers":)"
             R"([{"name":"c","resources":{}}],"enableServiceLinks":false},"status":{}})");
  Service service;
  BOOST_TEST(encode_json(service) ==
             R"({"kind":"Service","apiVersion":"v1","metadata":{"creationTimestamp":null},"spec":{},)"
             R"("status":{"loadBalancer":{}}})");
  pod.status.container_statuses.emplace_back().state.running.emplace();
  BOOST_TEST(encode_json(pod).find(R"("containerStatuses":[{"name":"","state":{"running":{"startedAt":null}},)"
                                   R"("lastState":{},"ready":false,"restartCount":0,"image":"","imageID":""}])") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(lists_are_encoded_with_their_kind) {
  BOOST_TEST(encode_json_list(std::vector<Pod>{}) ==
             R"({"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]})");
  std::vector<ConfigMap> maps(2);
  maps[0].metadata.name = "a";
  maps[1].data["k"] = "v";
  BOOST_TEST(encode_json_list(maps) == R"({"kind":"ConfigMapList","apiVersion":"v1","metadata":{},"items":[)"
                                       R"({"metadata":{"name":"a","creationTimestamp":null}},)"
                                       R"({"metadata":{"creationTimestamp":null},"data":{"k":"v"}}]})");
  const Manifest manifest = decode_manifest(encode_json_list(maps));
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 2);
  BOOST_TEST((std::get<ConfigMap>(manifest.objects[1].object) == maps[1]));
}

BOOST_AUTO_TEST_CASE(strings_are_escaped_and_made_utf8) {
  ConfigMap map;
  map.data["k"] = "\"\\\n\t\x01\xff\xc3\xa4";
  BOOST_TEST(encode_json(map).find("{\"k\":\"\\\"\\\\\\n\\t\\u0001\xEF\xBF\xBD\xc3\xa4\"}") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(json_of_the_wrong_kind_is_refused) {
  BOOST_TEST(!decode_json<Pod>(R"({"kind":"Service","apiVersion":"v1"})"));
  BOOST_TEST(!decode_json<Pod>(R"({"kind":"Pod","apiVersion":"v2"})"));
  BOOST_TEST(!decode_json<Pod>("[]"));
  BOOST_TEST(!decode_json<Pod>("{} x"));
  BOOST_TEST(decode_json<Pod>(" {\"unknown\":1} \n").has_value());
}

BOOST_AUTO_TEST_CASE(json_becomes_yaml_that_reads_back) {
  const std::string json =
      R"({"b":["x",{"y":null}],"a":"yes","c":"- x","d":"a: b","e":"1","f":" x","g":"it's","h":"l1\nl2","i":"l\n\n","j":{},)"
      R"("k":[],"l":"","m":"\u0001","n":"1:30","o":"2026-01-01","p":"#c","q":"a #b","r":true,"s":1.5,"t":"-","u":"\nx"})";
  auto yaml = json_to_yaml(json);
  BOOST_REQUIRE(yaml);
  BOOST_TEST(
      *yaml ==
      "a: \"yes\"\nb:\n- x\n- \"y\": null\nc: '- x'\nd: 'a: b'\ne: \"1\"\nf: ' x'\ng: it's\nh: |-\n  l1\n  l2\n"
      "i: |+\n  l\n\nj: {}\nk: []\nl: \"\"\nm: \"\\u0001\"\n\"n\": \"1:30\"\no: \"2026-01-01\"\np: '#c'\nq: 'a #b'\n"
      "r: true\ns: 1.5\nt: '-'\nu: |2-\n\n  x\n");
  BOOST_TEST(!json_to_yaml("{"));
}

BOOST_AUTO_TEST_SUITE_END()
