// The pure parts of an agent's conversation with the API server.
#include <boost/test/unit_test.hpp>

#include "agent/cluster/event_book.h"
#include "agent/cluster/mirrors.h"
#include "agent/cluster/references.h"
#include "agent/cluster/status_patch.h"
#include "api/patch.h"
#include "api/resource.h"

using namespace keelson;
using namespace keelson::cluster;

namespace {

api::Pod pod(const std::string& name, const std::string& hash = "hash-1") {
  api::Pod pod;
  pod.metadata.name = name;
  pod.metadata.namespace_ = "default";
  pod.metadata.uid = hash;
  pod.metadata.annotations = {{"kubernetes.io/config.source", "file"}, {"kubernetes.io/config.hash", hash}};
  return pod;
}

const Owner kNode{"node1", "uid-of-node1"};

PodPtr mirror_of(const api::Pod& pod, bool deleted = false) {
  auto mirror = make_mirror(pod, kNode);
  mirror.metadata.uid = "uid-of-mirror";
  if (deleted) mirror.metadata.deletion_timestamp = api::Time{1};
  return std::make_shared<const api::Pod>(std::move(mirror));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(status_patches)

BOOST_AUTO_TEST_CASE(a_status_is_whole_and_leaves_conditions_of_others) {
  api::Pod found = pod("web");
  found.status.phase = "Pending";
  found.status.reason = "OutOfcpu";
  found.status.pod_ip = "10.244.0.1";
  found.status.pod_ips = {{"10.244.0.1"}, {"fd00::1"}};
  api::PodCondition gate;
  gate.type = "example.com/gate";
  gate.status = "True";
  found.status.conditions = {gate};
  found.status.nominated_node_name = "kept";

  api::PodStatus now;
  now.phase = "Running";
  now.pod_ip = "10.244.0.2";
  now.pod_ips = {{"10.244.0.2"}};
  now.qos_class = "BestEffort";
  api::PodCondition ready;
  ready.type = "Ready";
  ready.status = "True";
  now.conditions = {ready};
  const auto patch = status_patch("hash-1", now);

  api::Tree tree;
  size_t used = 0;
  const auto text = api::encode_json(found);
  const auto target = api::read_json(text, tree, 1, used);
  const auto change = api::read_json(patch, tree, 1, used);
  BOOST_REQUIRE_MESSAGE(change, patch);
  const auto result = api::strategic_merge_patch(api::type_of<api::Pod>(), **target, **change, tree);
  BOOST_REQUIRE_MESSAGE(result, patch);
  auto object = api::read_object(api::resource_of<api::Pod>(), **result);
  BOOST_REQUIRE(object);
  const auto& status = object->object.get_if<api::Pod>()->status;
  BOOST_TEST(status.phase == "Running");
  BOOST_TEST(status.reason == "");
  BOOST_TEST(status.pod_ip == "10.244.0.2");
  BOOST_REQUIRE(status.pod_ips.size() == 1u);
  BOOST_TEST(status.conditions.size() == 2u);
  BOOST_TEST(status.nominated_node_name == "kept");
}

BOOST_AUTO_TEST_CASE(a_condition_that_stays_keeps_the_time_that_the_api_knows) {
  api::PodCondition old;
  old.type = "Ready";
  old.status = "True";
  old.last_transition_time = api::Time{10};
  api::PodStatus known, now;
  known.conditions = {old};
  now.conditions = {old};
  now.conditions[0].last_transition_time = api::Time{99};
  keep_transition_times(now, known);
  BOOST_TEST(now.conditions[0].last_transition_time->seconds == 10);
  now.conditions[0].status = "False";
  now.conditions[0].last_transition_time = api::Time{99};
  keep_transition_times(now, known);
  BOOST_TEST(now.conditions[0].last_transition_time->seconds == 99);
}

BOOST_AUTO_TEST_CASE(a_gate_that_others_have_opened_lets_a_pod_be_ready) {
  auto known = pod("web");
  known.spec.readiness_gates = {{"example.com/gate"}};
  api::PodCondition ready;
  ready.type = "Ready";
  ready.status = "False";
  ready.reason = "ReadinessGatesNotReady";
  api::PodStatus status;
  status.conditions = {ready};
  open_gates(status, known);
  BOOST_TEST(status.conditions[0].status == "False");
  api::PodCondition gate;
  gate.type = "example.com/gate";
  gate.status = "True";
  known.status.conditions = {gate};
  open_gates(status, known);
  BOOST_TEST(status.conditions[0].status == "True");
  BOOST_TEST(status.conditions[0].reason == "");
  status.conditions = {ready};
  status.conditions[0].reason = "ContainersNotReady";
  open_gates(status, known);
  BOOST_TEST(status.conditions[0].status == "False");
}

BOOST_AUTO_TEST_CASE(what_others_write_over_is_noticed) {
  api::PodCondition ready;
  ready.type = "Ready";
  ready.status = "True";
  api::PodStatus said, known;
  said.phase = known.phase = "Running";
  said.conditions = known.conditions = {ready};
  ready.type = "example.com/gate";
  known.conditions.push_back(ready);
  BOOST_TEST(agrees(said, known));
  known.conditions[0].status = "False";
  BOOST_TEST(!agrees(said, known));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(mirrors)

BOOST_AUTO_TEST_CASE(a_static_pod_has_a_mirror_with_the_nodes_name) {
  const auto plan = plan_mirrors({pod("web")}, {}, true, kNode);
  BOOST_REQUIRE(plan.create.size() == 1u);
  const auto& mirror = plan.create[0];
  BOOST_TEST(mirror.metadata.name == "web-node1");
  BOOST_TEST(mirror.spec.node_name == "node1");
  BOOST_TEST(mirror.metadata.uid == "");
  BOOST_TEST(mirror.metadata.annotations.at("kubernetes.io/config.mirror") == "hash-1");
  BOOST_TEST(mirror.metadata.annotations.at("kubernetes.io/config.source") == "file");
  BOOST_REQUIRE(mirror.metadata.owner_references.size() == 1u);
  BOOST_TEST(mirror.metadata.owner_references[0].uid == "uid-of-node1");
  BOOST_TEST(mirrored_name("web-node1", "node1") == "web");
  BOOST_TEST(mirrored_name("web-node2", "node1") == "");
}

BOOST_AUTO_TEST_CASE(a_mirror_that_stands_is_left_alone) {
  const auto plan = plan_mirrors({pod("web")}, {mirror_of(pod("web"))}, true, kNode);
  BOOST_TEST(plan.create.empty());
  BOOST_TEST(plan.remove.empty());
}

BOOST_AUTO_TEST_CASE(a_mirror_of_another_version_goes_first_and_is_then_made_anew) {
  auto plan = plan_mirrors({pod("web", "hash-2")}, {mirror_of(pod("web"))}, true, kNode);
  BOOST_TEST(plan.create.empty());
  BOOST_TEST(plan.remove.size() == 1u);
  plan = plan_mirrors({pod("web", "hash-2")}, {}, true, kNode);
  BOOST_TEST(plan.create.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_mirror_that_somebody_deletes_comes_back) {
  const auto plan = plan_mirrors({pod("web")}, {mirror_of(pod("web"), true)}, true, kNode);
  BOOST_TEST(plan.create.empty());
  BOOST_TEST(plan.remove.size() == 1u);
}

BOOST_AUTO_TEST_CASE(no_mirror_goes_before_every_source_has_spoken) {
  BOOST_TEST(plan_mirrors({}, {mirror_of(pod("web"))}, false, kNode).remove.empty());
  BOOST_TEST(plan_mirrors({}, {mirror_of(pod("web"))}, true, kNode).remove.size() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(references)

BOOST_AUTO_TEST_CASE(every_place_that_names_a_configmap_or_secret_counts) {
  auto one = pod("web");
  one.metadata.namespace_ = "shop";
  one.spec.image_pull_secrets = {{"registry"}};
  api::Volume volume;
  volume.source.config_map.emplace().ref.name = "files";
  one.spec.volumes.push_back(volume);
  volume = {};
  volume.source.secret.emplace().secret_name = "tls";
  one.spec.volumes.push_back(volume);
  api::Container container;
  api::EnvVar variable;
  variable.value_from.emplace().secret_key_ref.emplace().ref.name = "password";
  container.env.push_back(variable);
  api::EnvFromSource from;
  from.config_map_ref.emplace().ref.name = "settings";
  container.env_from.push_back(from);
  one.spec.init_containers.push_back(container);
  std::set<ConfigRef> found;
  add_references(one, found);
  const std::set<ConfigRef> expected = {{true, "shop", "registry"},
                                        {false, "shop", "files"},
                                        {true, "shop", "tls"},
                                        {true, "shop", "password"},
                                        {false, "shop", "settings"}};
  BOOST_TEST((found == expected));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(event_book)

namespace {

Happening happening(const std::string& reason, const std::string& message, const std::string& name = "web") {
  Happening what;
  what.object.kind = "Pod";
  what.object.namespace_ = "default";
  what.object.name = name;
  what.object.uid = "uid-" + name;
  what.reason = reason;
  what.message = message;
  return what;
}
constexpr int64_t kSecond = 1'000'000;

}  // namespace

BOOST_AUTO_TEST_CASE(the_same_again_is_one_event_with_a_count) {
  EventBook book("node1");
  const auto first = book.take(happening("Pulled", "it is there"), 100 * kSecond);
  BOOST_REQUIRE(first.has_value());
  BOOST_TEST(first->count.value() == 1);
  BOOST_TEST(first->source.component == "kubelet");
  BOOST_TEST(first->source.host == "node1");
  BOOST_TEST(first->type == "Normal");
  const auto second = book.take(happening("Pulled", "it is there"), 160 * kSecond);
  BOOST_REQUIRE(second.has_value());
  BOOST_TEST(second->metadata.name == first->metadata.name);
  BOOST_TEST(second->count.value() == 2);
  BOOST_TEST(second->first_timestamp->seconds == 100);
  BOOST_TEST(second->last_timestamp->seconds == 160);
  const auto other = book.take(happening("Pulled", "another"), 160 * kSecond);
  BOOST_TEST(other->metadata.name != first->metadata.name);
}

BOOST_AUTO_TEST_CASE(many_of_a_kind_are_combined) {
  EventBook book("node1");
  std::set<std::string> names;
  for (int i = 0; i < 20; ++i) {
    const auto event = book.take(happening("Unhealthy", "probe " + std::to_string(i)), (100 + i) * kSecond);
    BOOST_REQUIRE(event.has_value());
    names.insert(event->metadata.name);
    if (i >= 10) BOOST_TEST(event->message == "(combined from similar events): probe " + std::to_string(i));
  }
  BOOST_TEST(names.size() == 11u);
  // Ten minutes of silence later they are told one by one again.
  BOOST_TEST(book.take(happening("Unhealthy", "probe 7"), 2000 * kSecond)->message == "probe 7");
}

BOOST_AUTO_TEST_CASE(one_object_cannot_flood_the_api) {
  EventBook book("node1");
  int told = 0;
  for (int i = 0; i < 1000; ++i) told += book.take(happening("BackOff", "again"), 100 * kSecond).has_value() ? 1 : 0;
  BOOST_TEST(told == 25);
  BOOST_TEST(book.take(happening("BackOff", "again", "other"), 100 * kSecond).has_value());
  BOOST_TEST(!book.take(happening("BackOff", "again"), 300 * kSecond).has_value());
  BOOST_TEST(book.take(happening("BackOff", "again"), 401 * kSecond).has_value());
}

BOOST_AUTO_TEST_CASE(what_is_remembered_is_bounded) {
  EventBook book("node1");
  for (int i = 0; i < 5000; ++i) (void)book.take(happening("Started", "m", "pod" + std::to_string(i)), i * kSecond);
  BOOST_TEST(book.size() <= 4096u);
}

BOOST_AUTO_TEST_CASE(a_long_message_is_cut_between_characters) {
  EventBook book("node1");
  std::string text(1023, 'x');
  text += "\xc3\xa4\xc3\xa4";
  const auto event = book.take(happening("Failed", text), kSecond);
  BOOST_TEST(event->message.size() <= 1024u);
  BOOST_TEST(api::is_utf8(event->message));
}

BOOST_AUTO_TEST_SUITE_END()
