// The API server over a real etcd: each sentence of "Semantics that toy servers get wrong"
// (API_SERVER.md). Loopback only; no root needed.

#include <fmt/core.h>

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <set>
#include <thread>

#include "test/integration/api_rig.h"

namespace keelson::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kPods = "/api/v1/namespaces/default/pods";
const std::string kMaps = "/api/v1/namespaces/default/configmaps";

std::string config_map(std::string_view name, std::string_view value = "1") {
  return fmt::format(R"({{"kind":"ConfigMap","apiVersion":"v1","metadata":{{"name":"{}"}},"data":{{"a":"{}"}}}})", name,
                     value);
}
std::string pod(std::string_view name, std::string_view more_metadata = "", std::string_view more_spec = "") {
  return fmt::format(
      R"({{"kind":"Pod","apiVersion":"v1","metadata":{{"name":"{}"{}}},"spec":{{{}"containers":[{{"name":"main","image":"busybox:1"}}]}}}})",
      name, more_metadata, more_spec);
}
std::string binding(std::string_view pod, std::string_view node) {
  return fmt::format(
      R"({{"kind":"Binding","apiVersion":"v1","metadata":{{"name":"{}"}},"target":{{"kind":"Node","name":"{}"}}}})",
      pod, node);
}
void check_status(const HttpAnswer& answer, int code, std::string_view reason, std::string_view message) {
  BOOST_CHECK_MESSAGE(answer.status == code, answer.body);
  BOOST_CHECK_EQUAL(answer["/kind"], "Status");
  BOOST_CHECK_EQUAL(answer["/status"], "Failure");
  BOOST_CHECK_EQUAL(answer["/code"], std::to_string(code));
  BOOST_CHECK_EQUAL(answer["/reason"], reason);
  BOOST_CHECK_EQUAL(answer["/message"], message);
}

BOOST_FIXTURE_TEST_CASE(an_object_is_created_read_changed_and_deleted, ApiRig) {
  auto made = post(kMaps, config_map("one"));
  BOOST_REQUIRE_MESSAGE(made.status == 201, made.body);
  BOOST_CHECK_EQUAL(made["/metadata/namespace"], "default");
  BOOST_CHECK_EQUAL(made["/metadata/uid"].size(), 36u);
  BOOST_CHECK_NE(made["/metadata/resourceVersion"], "");
  const auto read = get(kMaps + "/one");
  BOOST_CHECK_EQUAL(read.status, 200);
  BOOST_CHECK_EQUAL(read.body, made.body);
  check_status(post(kMaps, config_map("one")), 409, "AlreadyExists", "configmaps \"one\" already exists");

  const auto changed = put(kMaps + "/one", config_map("one", "2"));
  BOOST_CHECK_EQUAL(changed.status, 200);
  BOOST_CHECK_EQUAL(changed["/data/a"], "2");
  BOOST_CHECK_NE(changed["/metadata/resourceVersion"], made["/metadata/resourceVersion"]);
  BOOST_CHECK_EQUAL(changed["/metadata/uid"], made["/metadata/uid"]);

  const auto list = get(kMaps);
  BOOST_CHECK_EQUAL(list["/kind"], "ConfigMapList");
  BOOST_CHECK_EQUAL(list["/items/0/data/a"], "2");
  BOOST_CHECK_EQUAL(list["/items/0/kind"], "");

  const auto gone = remove(kMaps + "/one");
  BOOST_CHECK_EQUAL(gone.status, 200);
  BOOST_CHECK_EQUAL(gone["/status"], "Success");
  BOOST_CHECK_EQUAL(gone["/details/kind"], "configmaps");
  BOOST_CHECK_EQUAL(gone["/details/uid"], made["/metadata/uid"]);
  check_status(get(kMaps + "/one"), 404, "NotFound", "configmaps \"one\" not found");
  check_status(remove(kMaps + "/one"), 404, "NotFound", "configmaps \"one\" not found");
}

BOOST_FIXTURE_TEST_CASE(a_watch_tells_of_every_change, ApiRig) {
  const std::string before = get(kMaps)["/metadata/resourceVersion"];
  HttpClient watch(port());
  BOOST_REQUIRE_EQUAL(watch.open(kMaps + "?watch=True&resourceVersion=" + before).status, 200);
  post(kMaps, config_map("one"));
  put(kMaps + "/one", config_map("one", "2"));
  remove(kMaps + "/one");
  for (const char* type : {"ADDED", "MODIFIED", "DELETED"}) {
    const auto event = watch.line();
    BOOST_REQUIRE(event);
    BOOST_CHECK_EQUAL(json_at(*event, "/type"), type);
    BOOST_CHECK_EQUAL(json_at(*event, "/object/metadata/name"), "one");
  }
  HttpClient again(port());
  again.open(kMaps + "?watch=1&resourceVersion=" + before);
  for (const char* type : {"ADDED", "MODIFIED", "DELETED"}) BOOST_CHECK_EQUAL(json_at(*again.line(), "/type"), type);
}

BOOST_FIXTURE_TEST_CASE(a_bound_pod_and_its_copy_are_one_transaction, ApiRig) {
  BOOST_REQUIRE_EQUAL(post(kPods, pod("web")).status, 201);
  const auto bound = post(kPods + "/web/binding", binding("web", "n1"));
  BOOST_CHECK_MESSAGE(bound.status == 201, bound.body);
  BOOST_CHECK_EQUAL(bound["/status"], "Success");
  const auto read = get(kPods + "/web");
  BOOST_CHECK_EQUAL(read["/spec/nodeName"], "n1");
  BOOST_CHECK_EQUAL(read["/status/conditions/0/type"], "PodScheduled");
  const auto copy = etcdctl({"get", "--print-value-only", "/registry/hosts/n1/pods/default/web"});
  BOOST_CHECK_EQUAL(json_at(copy.out, "/spec/nodeName"), "n1");
  BOOST_CHECK_EQUAL(json_at(copy.out, "/metadata/uid"), read["/metadata/uid"]);
  const auto fields = etcdctl({"get", "-w", "fields", "/registry/hosts/n1/pods/default/web"});
  BOOST_CHECK(fields.out.find(fmt::format("\"ModRevision\" : {}", read["/metadata/resourceVersion"])) !=
              std::string::npos);
  check_status(post(kPods + "/web/binding", binding("web", "n2")), 409, "Conflict",
               "Operation cannot be fulfilled on pods/binding \"web\": pod web is already assigned to node \"n1\"");
  // Its node removes it for good, and the copy goes along.
  BOOST_CHECK_EQUAL(remove(kPods + "/web", R"({"gracePeriodSeconds":0})").status, 200);
  BOOST_CHECK_EQUAL(etcdctl({"get", "--prefix", "/registry/hosts/"}).out, "");
}

// ---- resourceVersion -----------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(an_update_that_changes_nothing_keeps_the_version, ApiRig) {
  const auto made = post(kMaps, config_map("one"));
  const auto same = put(kMaps + "/one", config_map("one"));
  BOOST_CHECK_EQUAL(same.status, 200);
  BOOST_CHECK_EQUAL(same.body, made.body);
  BOOST_CHECK_EQUAL(patch("merge", kMaps + "/one", R"({"data":{"a":"1"}})").body, made.body);
}

BOOST_FIXTURE_TEST_CASE(an_update_without_a_version_is_unconditional_and_a_stale_one_conflicts, ApiRig) {
  const auto made = post(kMaps, config_map("one"));
  const std::string stale = made["/metadata/resourceVersion"];
  BOOST_CHECK_EQUAL(put(kMaps + "/one", config_map("one", "2")).status, 200);
  const auto refused =
      put(kMaps + "/one",
          fmt::format(R"({{"metadata":{{"name":"one","resourceVersion":"{}"}},"data":{{"a":"3"}}}})", stale));
  check_status(refused, 409, "Conflict",
               "Operation cannot be fulfilled on configmaps \"one\": the object has been modified; please apply your "
               "changes to the latest version and try again");
  BOOST_CHECK_EQUAL(refused["/details/kind"], "configmaps");
  const auto other_uid = put(kMaps + "/one", R"({"metadata":{"name":"one","uid":"other"},"data":{"a":"3"}})");
  BOOST_CHECK_EQUAL(other_uid.status, 409);
  BOOST_CHECK_MESSAGE(
      other_uid["/message"].find("Precondition failed: UID in precondition: other") != std::string::npos,
      other_uid.body);
  check_status(put(kMaps + "/two", config_map("one")), 404, "NotFound", "configmaps \"two\" not found");
  check_status(put(kMaps + "/one", config_map("two")), 400, "BadRequest",
               "the name of the object (two) does not match the name on the URL (one)");
}

BOOST_FIXTURE_TEST_CASE(a_version_of_the_future_times_out_and_says_so, ApiRig) {
  for (const std::string& target : {kMaps + "?resourceVersion=99999999", kMaps + "?watch=1&resourceVersion=99999999"}) {
    const auto late = get(target);
    BOOST_CHECK_EQUAL(late.status, 504);
    BOOST_CHECK_EQUAL(late["/reason"], "Timeout");
    BOOST_CHECK_EQUAL(late["/details/causes/0/reason"], "ResourceVersionTooLarge");
    BOOST_CHECK_EQUAL(late["/details/retryAfterSeconds"], "1");
    BOOST_CHECK_EQUAL(late["/message"].find("Timeout: Too large resource version: 99999999, current: "), 0u);
  }
  BOOST_CHECK_EQUAL(get(kMaps + "?resourceVersion=abc").status, 400);
}

BOOST_FIXTURE_TEST_CASE(version_0_takes_any_state_and_no_limit, ApiRig) {
  for (const char* name : {"a", "b", "c"}) post(kMaps, config_map(name));
  const auto all = get(kMaps + "?resourceVersion=0&limit=1");
  BOOST_CHECK_EQUAL(all["/items/2/metadata/name"], "c");
  BOOST_CHECK_EQUAL(all["/metadata/continue"], "");
}

// ---- watches ---------------------------------------------------------------------------------

std::string next(HttpClient& watch, std::string* object = nullptr) {
  const auto event = watch.line();
  if (!event) return "end";
  if (object != nullptr) *object = *event;
  return json_at(*event, "/type") + " " + json_at(*event, "/object/metadata/name");
}

BOOST_FIXTURE_TEST_CASE(leaving_a_selector_is_a_deletion_and_coming_back_an_addition, ApiRig) {
  const auto labelled = [](std::string_view value) {
    return fmt::format(R"({{"metadata":{{"name":"one","labels":{{"app":"{}"}}}}}})", value);
  };
  HttpClient watch(port());
  watch.open(kMaps + "?watch=true&labelSelector=app%3Dweb&resourceVersion=" + get(kMaps)["/metadata/resourceVersion"]);
  post(kMaps, labelled("web"));
  const auto left = put(kMaps + "/one", labelled("db"));
  const auto back = put(kMaps + "/one", labelled("web"));
  post(kMaps, config_map("two"));
  remove(kMaps + "/one");
  std::string event;
  BOOST_CHECK_EQUAL(next(watch), "ADDED one");
  BOOST_CHECK_EQUAL(next(watch, &event), "DELETED one");
  // The old object under the new version.
  BOOST_CHECK_EQUAL(json_at(event, "/object/metadata/labels/app"), "web");
  BOOST_CHECK_EQUAL(json_at(event, "/object/metadata/resourceVersion"), left["/metadata/resourceVersion"]);
  BOOST_CHECK_EQUAL(next(watch, &event), "ADDED one");
  BOOST_CHECK_EQUAL(json_at(event, "/object/metadata/resourceVersion"), back["/metadata/resourceVersion"]);
  BOOST_CHECK_EQUAL(next(watch, &event), "DELETED one");
  BOOST_CHECK_GT(std::stoll(json_at(event, "/object/metadata/resourceVersion")),
                 std::stoll(back["/metadata/resourceVersion"]));
}

BOOST_FIXTURE_TEST_CASE(a_watch_without_a_version_begins_with_what_is_there, ApiRig) {
  post(kMaps, config_map("a"));
  post(kMaps, config_map("b"));
  for (const char* version : {"", "&resourceVersion=0"}) {
    HttpClient watch(port());
    watch.open(kMaps + "?watch=true" + version);
    BOOST_CHECK_EQUAL(next(watch), "ADDED a");
    BOOST_CHECK_EQUAL(next(watch), "ADDED b");
    put(kMaps + "/b", config_map("b", version));
    BOOST_CHECK_EQUAL(next(watch), "MODIFIED b");
  }
}

BOOST_FIXTURE_TEST_CASE(a_timeout_ends_a_watch_cleanly_with_a_bookmark_before, ApiRig) {
  post(kMaps, config_map("a"));
  const std::string at = get(kMaps)["/metadata/resourceVersion"];
  HttpClient watch(port());
  const auto began = std::chrono::steady_clock::now();
  watch.open(kMaps + "?watch=true&timeoutSeconds=3&allowWatchBookmarks=true&resourceVersion=" + at);
  std::string event;
  BOOST_CHECK_EQUAL(next(watch, &event), "BOOKMARK ");
  BOOST_CHECK_EQUAL(json_at(event, "/object/kind"), "ConfigMap");
  BOOST_CHECK_EQUAL(json_at(event, "/object/metadata/resourceVersion"), at);
  BOOST_CHECK_EQUAL(next(watch), "end");
  const auto took = std::chrono::steady_clock::now() - began;
  BOOST_CHECK(took >= seconds(3) && took < seconds(5));
  // The connection serves the next request.
  BOOST_CHECK_EQUAL(watch.request("GET", kMaps + "/a").status, 200);
}

struct ShortHistory : ApiRig {
  ShortHistory()
      : ApiRig({.store = {.history = {.changes = 5}}, .server = {.watch = {.bookmark_every = milliseconds(300)}}}) {}
};

BOOST_FIXTURE_TEST_CASE(a_version_too_old_to_watch_from_is_an_error_event, ShortHistory) {
  const std::string old = get(kMaps)["/metadata/resourceVersion"];
  for (int i = 0; i < 10; ++i) post(kMaps, config_map(fmt::format("m{}", i)));
  HttpClient watch(port());
  BOOST_CHECK_EQUAL(watch.open(kMaps + "?watch=true&resourceVersion=" + old).status, 200);
  const auto event = watch.line();
  BOOST_REQUIRE(event);
  BOOST_CHECK_EQUAL(json_at(*event, "/type"), "ERROR");
  BOOST_CHECK_EQUAL(json_at(*event, "/object/kind"), "Status");
  BOOST_CHECK_EQUAL(json_at(*event, "/object/reason"), "Expired");
  BOOST_CHECK_EQUAL(json_at(*event, "/object/code"), "410");
  BOOST_CHECK_EQUAL(json_at(*event, "/object/message").find("too old resource version: " + old + " ("), 0u);
  BOOST_CHECK(!watch.line());
  // A list at that version comes from etcd, which still has it.
  const auto list = get(kMaps + "?resourceVersionMatch=Exact&resourceVersion=" + old);
  BOOST_CHECK_EQUAL(list.status, 200);
  BOOST_CHECK_EQUAL(list["/items"], "[]");
  BOOST_CHECK_EQUAL(list["/metadata/resourceVersion"], old);
}

BOOST_FIXTURE_TEST_CASE(bookmarks_come_again_and_again, ShortHistory) {
  HttpClient watch(port());
  watch.open(kMaps + "?watch=true&allowWatchBookmarks=true");
  std::string event;
  BOOST_CHECK_EQUAL(next(watch), "BOOKMARK ");
  const auto made = post(kPods, pod("web"));  // of another kind: the bookmark moves on all the same
  BOOST_CHECK_EQUAL(next(watch, &event), "BOOKMARK ");
  BOOST_CHECK_EQUAL(json_at(event, "/object/metadata/resourceVersion"), made["/metadata/resourceVersion"]);
}

BOOST_FIXTURE_TEST_CASE(initial_events_end_with_a_bookmark_that_says_so, ApiRig) {
  post(kMaps, config_map("a"));
  HttpClient watch(port());
  watch.open(kMaps + "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
  std::string event;
  BOOST_CHECK_EQUAL(next(watch), "ADDED a");
  BOOST_CHECK_EQUAL(next(watch, &event), "BOOKMARK ");
  BOOST_CHECK_EQUAL(json_at(event, "/object/metadata/annotations/k8s.io~1initial-events-end"), "true");
  BOOST_CHECK_EQUAL(json_at(event, "/object/metadata/resourceVersion"), get(kMaps)["/metadata/resourceVersion"]);
  check_status(get(kMaps + "?watch=true&sendInitialEvents=true"), 422, "Invalid",
               "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires "
               "setting resourceVersionMatch to NotOlderThan");
}

BOOST_FIXTURE_TEST_CASE(a_watch_of_one_object_or_one_node_sees_nothing_else, ApiRig) {
  HttpClient one(port()), node(port());
  const std::string at = get(kPods)["/metadata/resourceVersion"];
  one.open(kPods + "?watch=true&fieldSelector=metadata.name%3Dweb&resourceVersion=" + at);
  node.open("/api/v1/pods?watch=true&fieldSelector=spec.nodeName%3Dn1&resourceVersion=" + at);
  post(kPods, pod("other"));
  post(kPods, pod("web"));
  post(kPods + "/other/binding", binding("other", "n2"));
  post(kPods + "/web/binding", binding("web", "n1"));
  BOOST_CHECK_EQUAL(next(one), "ADDED web");
  BOOST_CHECK_EQUAL(next(one), "MODIFIED web");
  BOOST_CHECK_EQUAL(next(node), "ADDED web");
}

BOOST_FIXTURE_TEST_CASE(a_watch_for_a_table_tells_its_columns_once, ApiRig) {
  HttpClient watch(port());
  watch.open(kPods + "?watch=true", "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n");
  post(kPods, pod("a"));
  post(kPods, pod("b"));
  const auto first = watch.line(), second = watch.line();
  BOOST_REQUIRE(first && second);
  BOOST_CHECK_EQUAL(json_at(*first, "/object/kind"), "Table");
  BOOST_CHECK_EQUAL(json_at(*first, "/object/columnDefinitions/0/name"), "Name");
  BOOST_CHECK_EQUAL(json_at(*first, "/object/rows/0/cells/0"), "a");
  BOOST_CHECK_EQUAL(json_at(*second, "/object/columnDefinitions/0/name"), "");
  BOOST_CHECK_EQUAL(json_at(*second, "/object/rows/0/cells/0"), "b");
}

BOOST_AUTO_TEST_CASE(a_watcher_that_does_not_read_is_dropped_with_410) {
  ApiRig rig({.server = {.watch = {.queue_bytes = 64u << 10}}});
  HttpClient slow(rig.port());
  slow.open(kMaps + "?watch=true");
  const std::string big(200'000, 'x');
  for (int i = 0; i < 30; ++i) BOOST_REQUIRE_EQUAL(rig.post(kMaps, config_map(fmt::format("m{}", i), big)).status, 201);
  std::string last;
  int events = 0;
  while (const auto event = slow.line(seconds(3))) {
    last = *event;
    ++events;
  }
  BOOST_CHECK_LT(events, 30);
  BOOST_CHECK_EQUAL(json_at(last, "/type"), "ERROR");
  BOOST_CHECK_EQUAL(json_at(last, "/object/code"), "410");
}

BOOST_FIXTURE_TEST_CASE(a_large_initial_state_reaches_a_watcher_that_reads_slowly, ApiRig) {
  const std::string big(500'000, 'x');
  for (int i = 0; i < 20; ++i) post(kMaps, config_map(fmt::format("m{:02}", i), big));
  HttpClient watch(port());
  watch.open(kMaps + "?watch=true");
  std::this_thread::sleep_for(milliseconds(300));
  post(kMaps, config_map("n"));
  for (int i = 0; i < 20; ++i) BOOST_CHECK_EQUAL(next(watch), fmt::format("ADDED m{:02}", i));
  BOOST_CHECK_EQUAL(next(watch), "ADDED n");
}

// ---- pages -----------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(pages_show_one_state_however_long_they_take, ApiRig) {
  for (const char* name : {"a", "b", "c", "d", "e"}) post(kMaps, config_map(name));
  const auto first = get(kMaps + "?limit=2");
  BOOST_CHECK_EQUAL(first["/items/1/metadata/name"], "b");
  BOOST_CHECK_EQUAL(first["/metadata/remainingItemCount"], "3");
  remove(kMaps + "/c");
  put(kMaps + "/d", config_map("d", "changed"));
  post(kMaps, config_map("cc"));
  const auto second = get(kMaps + "?limit=2&continue=" + first["/metadata/continue"]);
  BOOST_CHECK_EQUAL(second["/items/0/metadata/name"], "c");
  BOOST_CHECK_EQUAL(second["/items/1/metadata/name"], "d");
  BOOST_CHECK_EQUAL(second["/items/1/data/a"], "1");
  BOOST_CHECK_EQUAL(second["/metadata/resourceVersion"], first["/metadata/resourceVersion"]);
  BOOST_CHECK_EQUAL(second["/metadata/remainingItemCount"], "1");
  const auto third = get(kMaps + "?limit=2&continue=" + second["/metadata/continue"]);
  BOOST_CHECK_EQUAL(third["/items/0/metadata/name"], "e");
  BOOST_CHECK_EQUAL(third["/metadata/continue"], "");
  check_status(get(kMaps + "?limit=2&continue=abc"), 400, "BadRequest", "continue key is not valid");
  check_status(get(kMaps + "?limit=2&resourceVersion=1&continue=" + first["/metadata/continue"]), 400, "BadRequest",
               "specifying resource version is not allowed when using continue");
  const auto selected = get(kMaps + "?limit=1&fieldSelector=metadata.name%21%3Da");
  BOOST_CHECK_EQUAL(selected["/items/0/metadata/name"], "b");
  BOOST_CHECK_NE(selected["/metadata/continue"], "");
  BOOST_CHECK_EQUAL(selected["/metadata/remainingItemCount"], "");
}

BOOST_FIXTURE_TEST_CASE(pages_older_than_our_memory_come_from_etcd, ShortHistory) {
  for (int i = 0; i < 8; ++i) post(kMaps, config_map(fmt::format("m{}", i)));
  const auto first = get(kMaps + "?limit=3");
  for (int i = 0; i < 8; ++i) remove(kMaps + fmt::format("/m{}", i));
  const auto second = get(kMaps + "?limit=3&continue=" + first["/metadata/continue"]);
  BOOST_CHECK_EQUAL(second["/items/0/metadata/name"], "m3");
  BOOST_CHECK_EQUAL(second["/items/2/metadata/name"], "m5");
  BOOST_CHECK_EQUAL(second["/metadata/resourceVersion"], first["/metadata/resourceVersion"]);
  const auto third = get(kMaps + "?limit=3&continue=" + second["/metadata/continue"]);
  BOOST_CHECK_EQUAL(third["/items/1/metadata/name"], "m7");
  BOOST_CHECK_EQUAL(third["/metadata/continue"], "");
}

BOOST_AUTO_TEST_CASE(a_page_that_was_compacted_is_expired_and_may_go_on_inconsistently) {
  ApiRig rig({.store = {.compact_every = milliseconds(200)}});
  for (const char* name : {"a", "b", "c"}) rig.post(kMaps, config_map(name));
  const std::string token = rig.get(kMaps + "?limit=1")["/metadata/continue"];
  rig.post(kMaps, config_map("bb"));
  HttpAnswer late;
  for (int i = 0; i < 100; ++i) {
    rig.put(kMaps + "/a", config_map("a", std::to_string(i)));
    late = rig.get(kMaps + "?limit=1&continue=" + token);
    if (late.status == 410) break;
    std::this_thread::sleep_for(milliseconds(50));
  }
  BOOST_CHECK_EQUAL(late.status, 410);
  BOOST_CHECK_EQUAL(late["/reason"], "Expired");
  const auto on = rig.get(kMaps + "?limit=1&continue=" + late["/metadata/continue"]);
  BOOST_CHECK_EQUAL(on.status, 200);
  BOOST_CHECK_EQUAL(on["/items/0/metadata/name"], "b");
  const auto further = rig.get(kMaps + "?limit=1&continue=" + on["/metadata/continue"]);
  BOOST_CHECK_EQUAL(further["/items/0/metadata/name"], "bb");
}

// ---- deletions ---------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(finalizers_hold_a_deletion_until_they_are_gone, ApiRig) {
  post(kMaps, R"({"metadata":{"name":"one","finalizers":["example.com/hold"]}})");
  const auto marked = remove(kMaps + "/one");
  BOOST_CHECK_EQUAL(marked.status, 200);
  BOOST_CHECK_EQUAL(marked["/kind"], "ConfigMap");
  BOOST_CHECK_NE(marked["/metadata/deletionTimestamp"], "");
  BOOST_CHECK_EQUAL(marked["/metadata/deletionGracePeriodSeconds"], "0");
  BOOST_CHECK_EQUAL(remove(kMaps + "/one").body, marked.body);
  BOOST_CHECK_EQUAL(patch("merge", kMaps + "/one", R"({"metadata":{"finalizers":null}})").status, 200);
  BOOST_CHECK_EQUAL(get(kMaps + "/one").status, 404);
}

BOOST_FIXTURE_TEST_CASE(a_bound_pod_gets_its_grace_and_is_removed_by_its_node, ApiRig) {
  post(kPods, pod("free"));
  const auto at_once = remove(kPods + "/free");
  BOOST_CHECK_EQUAL(at_once["/kind"], "Pod");
  BOOST_CHECK_EQUAL(get(kPods + "/free").status, 404);

  post(kPods, pod("web"));
  post(kPods + "/web/binding", binding("web", "n1"));
  const auto marked = remove(kPods + "/web");
  BOOST_CHECK_EQUAL(marked["/metadata/deletionGracePeriodSeconds"], "30");
  const auto copy = etcdctl({"get", "--print-value-only", "/registry/hosts/n1/pods/default/web"});
  BOOST_CHECK_EQUAL(json_at(copy.out, "/metadata/deletionTimestamp"), marked["/metadata/deletionTimestamp"]);
  BOOST_CHECK_EQUAL(remove(kPods + "/web", R"({"gracePeriodSeconds":60})").body, marked.body);  // only ever sooner
  BOOST_CHECK_EQUAL(remove(kPods + "/web", R"({"gracePeriodSeconds":5})")["/metadata/deletionGracePeriodSeconds"], "5");
  check_status(post(kPods + "/web/binding", binding("web", "n1")), 409, "Conflict",
               "Operation cannot be fulfilled on pods/binding \"web\": pod web is being deleted, cannot be assigned to "
               "a host");
  BOOST_CHECK_EQUAL(remove(kPods + "/web", R"({"gracePeriodSeconds":0})").status, 200);
  BOOST_CHECK_EQUAL(get(kPods + "/web").status, 404);
}

BOOST_FIXTURE_TEST_CASE(a_deletion_under_a_wrong_precondition_conflicts, ApiRig) {
  post(kMaps, config_map("one"));
  const auto wrong = remove(kMaps + "/one", R"({"preconditions":{"uid":"other"}})");
  BOOST_CHECK_EQUAL(wrong.status, 409);
  BOOST_CHECK_EQUAL(wrong["/reason"], "Conflict");
  const auto stale = remove(kMaps + "/one", R"({"preconditions":{"resourceVersion":"1"}})");
  BOOST_CHECK_EQUAL(stale.status, 409);
  BOOST_CHECK_EQUAL(get(kMaps + "/one").status, 200);
}

BOOST_FIXTURE_TEST_CASE(the_three_cascades_are_finalizers_or_none, ApiRig) {
  const std::string controllers = "/api/v1/namespaces/default/replicationcontrollers";
  const auto make = [&](const std::string& name) {
    const auto made = post(
        controllers,
        fmt::format(
            R"({{"metadata":{{"name":"{}"}},"spec":{{"replicas":2,"template":{{"metadata":{{"labels":{{"a":"b"}}}},"spec":{{"containers":[{{"name":"c","image":"i:1"}}]}}}}}}}})",
            name));
    BOOST_REQUIRE_MESSAGE(made.status == 201, made.body);
  };
  for (const char* name : {"f", "o", "b", "d"}) make(name);
  const auto foreground = remove(controllers + "/f", R"({"propagationPolicy":"Foreground"})");
  BOOST_CHECK_EQUAL(foreground.status, 202);
  BOOST_CHECK_EQUAL(foreground["/metadata/finalizers/0"], "foregroundDeletion");
  BOOST_CHECK_EQUAL(remove(controllers + "/o", R"({"propagationPolicy":"Orphan"})")["/metadata/finalizers/0"],
                    "orphan");
  BOOST_CHECK_EQUAL(remove(controllers + "/b", R"({"propagationPolicy":"Background"})")["/status"], "Success");
  BOOST_CHECK_EQUAL(remove(controllers + "/d")["/metadata/finalizers/0"], "orphan");  // v1's own default
  const auto wrong = remove(controllers + "/d", R"({"propagationPolicy":"Sideways"})");
  BOOST_CHECK_EQUAL(wrong.status, 422);
}

BOOST_FIXTURE_TEST_CASE(deleting_a_collection_answers_with_what_was_in_it, ApiRig) {
  for (int i = 0; i < 100; ++i) {
    post(kMaps, fmt::format(R"({{"metadata":{{"name":"m{:03}","labels":{{"odd":"{}"}}}}}})", i, i % 2));
  }
  const auto gone = remove(kMaps + "?labelSelector=odd%3D1");
  BOOST_CHECK_EQUAL(gone.status, 200);
  BOOST_CHECK_EQUAL(gone["/kind"], "ConfigMapList");
  BOOST_CHECK_EQUAL(gone["/items/49/metadata/name"], "m099");
  const auto left = get(kMaps);
  BOOST_CHECK_EQUAL(left["/items/49/metadata/name"], "m098");
  BOOST_CHECK_EQUAL(left["/items/50"], "");
  BOOST_CHECK_EQUAL(remove("/api/v1/configmaps").status, 405);
}

// ---- namespaces --------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_namespace_must_exist_and_not_be_going, ApiRig) {
  const auto unknown = post("/api/v1/namespaces/nowhere/configmaps", config_map("one"));
  check_status(unknown, 404, "NotFound", "namespaces \"nowhere\" not found");
  const auto made = post("/api/v1/namespaces", R"({"metadata":{"name":"team"}})");
  BOOST_CHECK_EQUAL(made["/spec/finalizers/0"], "kubernetes");
  BOOST_CHECK_EQUAL(made["/status/phase"], "Active");
  const auto going = remove("/api/v1/namespaces/team");
  BOOST_CHECK_EQUAL(going["/status/phase"], "Terminating");
  BOOST_CHECK_NE(going["/metadata/deletionTimestamp"], "");
  const auto refused = post("/api/v1/namespaces/team/configmaps", config_map("one"));
  check_status(refused, 403, "Forbidden",
               "configmaps \"one\" is forbidden: unable to create new content in namespace team because it is being "
               "terminated");
  BOOST_CHECK_EQUAL(refused["/details/causes/0/reason"], "NamespaceTerminating");
  const auto let_go = [this] {
    return replaced(get("/api/v1/namespaces/team").body, R"("finalizers":["kubernetes"])", R"("finalizers":[])");
  };
  BOOST_CHECK_EQUAL(put("/api/v1/namespaces/team", let_go()).status, 200);  // the main resource leaves them alone
  BOOST_CHECK_EQUAL(put("/api/v1/namespaces/team/finalize", let_go()).status, 200);
  BOOST_CHECK_EQUAL(get("/api/v1/namespaces/team").status, 404);
  check_status(post(kMaps, R"({"metadata":{"name":"x","namespace":"other"}})"), 400, "BadRequest",
               "the namespace of the provided object does not match the namespace sent on the request");
}

// ---- subresources ------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(status_and_spec_do_not_touch_each_other, ApiRig) {
  post(kPods, pod("web"));
  const auto running =
      patch("merge", kPods + "/web/status",
            R"({"metadata":{"labels":{"x":"y"}},"spec":{"nodeName":"n9"},"status":{"phase":"Running"}})");
  BOOST_CHECK_MESSAGE(running.status == 200, running.body);
  BOOST_CHECK_EQUAL(running["/status/phase"], "Running");
  BOOST_CHECK_EQUAL(running["/spec/nodeName"], "");
  const auto labelled =
      patch("merge", kPods + "/web", R"({"metadata":{"labels":{"a":"b"}},"status":{"phase":"Failed"}})");
  BOOST_CHECK_EQUAL(labelled["/status/phase"], "Running");
  BOOST_CHECK_EQUAL(labelled["/metadata/labels/a"], "b");
  BOOST_CHECK_EQUAL(get(kPods + "/web/status")["/status/phase"], "Running");
  BOOST_CHECK_EQUAL(get(kMaps + "/web/status").status, 404);
  // A change of status alone leaves the node's copy as it is.
  post(kPods + "/web/binding", binding("web", "n1"));
  const auto before = etcdctl({"get", "-w", "fields", "/registry/hosts/n1/pods/default/web"}).out;
  patch("merge", kPods + "/web/status", R"({"status":{"message":"well"}})");
  const auto revision = [](const std::string& out) { return out.substr(out.find("\"ModRevision\""), 30); };
  BOOST_CHECK_EQUAL(revision(etcdctl({"get", "-w", "fields", "/registry/hosts/n1/pods/default/web"}).out),
                    revision(before));
}

BOOST_FIXTURE_TEST_CASE(scaling_raises_the_generation, ApiRig) {
  const std::string controllers = "/api/v1/namespaces/default/replicationcontrollers";
  post(
      controllers,
      R"({"metadata":{"name":"web"},"spec":{"replicas":2,"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}}})");
  const auto scale = get(controllers + "/web/scale");
  BOOST_CHECK_EQUAL(scale["/kind"], "Scale");
  BOOST_CHECK_EQUAL(scale["/apiVersion"], "autoscaling/v1");
  BOOST_CHECK_EQUAL(scale["/spec/replicas"], "2");
  BOOST_CHECK_EQUAL(scale["/status/selector"], "a=b");
  // As kubectl 1.20: no Content-Type.
  const auto scaled =
      put(controllers + "/web/scale", R"({"metadata":{"name":"web","namespace":"default"},"spec":{"replicas":5}})",
          "Content-Type: \r\n");
  BOOST_CHECK_MESSAGE(scaled.status == 200, scaled.body);
  BOOST_CHECK_EQUAL(scaled["/spec/replicas"], "5");
  auto controller = get(controllers + "/web");
  BOOST_CHECK_EQUAL(controller["/spec/replicas"], "5");
  BOOST_CHECK_EQUAL(controller["/metadata/generation"], "2");
  BOOST_CHECK_EQUAL(patch("merge", controllers + "/web/scale", R"({"spec":{"replicas":1}})")["/spec/replicas"], "1");
  BOOST_CHECK_EQUAL(get(controllers + "/web")["/metadata/generation"], "3");
  const auto stale = put(controllers + "/web/scale", scale.body);
  BOOST_CHECK_EQUAL(stale.status, 409);
  BOOST_CHECK_EQUAL(patch("merge", controllers + "/web/scale", R"({"spec":{"replicas":-1}})").status, 422);
}

BOOST_FIXTURE_TEST_CASE(an_eviction_deletes, ApiRig) {
  post(kPods, pod("web"));
  post(kPods + "/web/binding", binding("web", "n1"));
  const auto evicted = post(
      kPods + "/web/eviction",
      R"({"kind":"Eviction","apiVersion":"policy/v1","metadata":{"name":"web"},"deleteOptions":{"gracePeriodSeconds":7}})");
  BOOST_CHECK_MESSAGE(evicted.status == 201, evicted.body);
  BOOST_CHECK_EQUAL(get(kPods + "/web")["/metadata/deletionGracePeriodSeconds"], "7");
}

// ---- writes in all their forms -----------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(dry_runs_say_what_would_be_and_change_nothing, ApiRig) {
  const auto dry = post(kMaps + "?dryRun=All", config_map("one"));
  BOOST_CHECK_EQUAL(dry.status, 201);
  BOOST_CHECK_NE(dry["/metadata/uid"], "");
  BOOST_CHECK_EQUAL(get(kMaps + "/one").status, 404);
  const auto made = post(kMaps, config_map("one"));
  BOOST_CHECK_EQUAL(put(kMaps + "/one?dryRun=All", config_map("one", "2"))["/data/a"], "2");
  BOOST_CHECK_EQUAL(remove(kMaps + "/one?dryRun=All").status, 200);
  BOOST_CHECK_EQUAL(remove(kMaps + "/one", R"({"dryRun":["All"]})").status, 200);
  BOOST_CHECK_EQUAL(get(kMaps + "/one").body, made.body);
  BOOST_CHECK_EQUAL(post(kMaps + "?dryRun=Some", config_map("two")).status, 422);
}

BOOST_FIXTURE_TEST_CASE(unknown_fields_are_refused_warned_of_or_ignored, ApiRig) {
  const std::string odd = R"({"metadata":{"name":"one"},"dota":{"a":"b"}})";
  check_status(
      post(kMaps + "?fieldValidation=Strict", odd), 400, "BadRequest",
      "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dota\"");
  const auto warned = post(kMaps, odd);
  BOOST_CHECK_EQUAL(warned.status, 201);
  BOOST_CHECK_MESSAGE(warned.headers.find("Warning: 299 - \"unknown field \\\"dota\\\"\"") != std::string::npos,
                      warned.headers);
  const auto silent = put(kMaps + "/one?fieldValidation=Ignore", odd);
  BOOST_CHECK_EQUAL(silent.headers.find("Warning"), std::string::npos);
  const auto patched = patch("merge", kMaps + "/one?fieldValidation=Strict", R"({"dota":"x"})");
  BOOST_CHECK_EQUAL(patched.status, 422);
  BOOST_CHECK(patched["/message"].find("unknown field \"dota\"") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(patches_of_all_four_kinds, ApiRig) {
  post(kPods, pod("web"));
  BOOST_CHECK_EQUAL(patch("merge", kPods + "/web", R"({"metadata":{"labels":{"a":"1"}}})")["/metadata/labels/a"], "1");
  const auto strategic =
      patch("strategic", kPods + "/web", R"({"spec":{"containers":[{"name":"main","image":"busybox:2"}]}})");
  BOOST_CHECK_EQUAL(strategic["/spec/containers/0/image"], "busybox:2");
  BOOST_CHECK_EQUAL(strategic["/spec/containers/0/imagePullPolicy"], "IfNotPresent");
  const auto json = patch("json", kPods + "/web", R"([{"op":"add","path":"/metadata/labels/b","value":"2"}])");
  BOOST_CHECK_EQUAL(json["/metadata/labels/b"], "2");
  const auto applied = patch("apply", kMaps + "/one?fieldManager=me",
                             "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: x\n");
  BOOST_CHECK_MESSAGE(applied.status == 201, applied.body);
  BOOST_CHECK_EQUAL(applied["/metadata/managedFields/0/operation"], "Apply");
  const auto again = patch("apply", kMaps + "/one?fieldManager=me",
                           "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: x\n");
  BOOST_CHECK_EQUAL(again.body, applied.body);
  const auto conflict = patch("apply", kMaps + "/one?fieldManager=you",
                              "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: z\n");
  BOOST_CHECK_EQUAL(conflict.status, 409);
  BOOST_CHECK_EQUAL(conflict["/details/causes/0/reason"], "FieldManagerConflict");
  const auto forced = patch("apply", kMaps + "/one?fieldManager=you&force=true",
                            "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\ndata:\n  a: z\n");
  BOOST_CHECK_EQUAL(forced["/data/a"], "z");
  check_status(patch("apply", kMaps + "/one", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: one\n"), 422,
               "Invalid",
               "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
  BOOST_CHECK_EQUAL(patch("json", kPods + "/web", R"({"a":1})").status, 400);
  BOOST_CHECK_EQUAL(post(kMaps, config_map("x"), "Content-Type: text/csv\r\n").status, 415);
  BOOST_CHECK_EQUAL(patch("merge", kPods + "/none", "{}").status, 404);
  const auto stale = patch("merge", kPods + "/web", R"({"metadata":{"resourceVersion":"1","labels":{"c":"3"}}})");
  BOOST_CHECK_EQUAL(stale.status, 409);
}

BOOST_FIXTURE_TEST_CASE(fields_belong_to_who_wrote_them, ApiRig) {
  const auto made = post(kMaps + "?fieldManager=kubectl-create", config_map("one"));
  BOOST_CHECK_EQUAL(made["/metadata/managedFields/0/manager"], "kubectl-create");
  BOOST_CHECK_EQUAL(made["/metadata/managedFields/0/operation"], "Update");
  BOOST_CHECK_NE(made["/metadata/managedFields/0/fieldsV1/f:data/f:a"], "");
  const auto agent = post(kMaps, config_map("two"), "User-Agent: kubectl/v1.31.0 (linux/amd64)\r\n");
  BOOST_CHECK_EQUAL(agent["/metadata/managedFields/0/manager"], "kubectl");
}

BOOST_FIXTURE_TEST_CASE(generated_names_are_cut_to_58_characters, ApiRig) {
  const auto made = post(kMaps, fmt::format(R"({{"metadata":{{"generateName":"{}"}}}})", std::string(70, 'a')));
  BOOST_CHECK_EQUAL(made["/metadata/name"].size(), 63u);
  BOOST_CHECK_EQUAL(post(kMaps, R"({"metadata":{"generateName":"web-"}})")["/metadata/name"].size(), 9u);
  const auto nameless = post(kMaps, R"({"metadata":{}})");
  BOOST_CHECK_EQUAL(nameless.status, 422);
  BOOST_CHECK_EQUAL(nameless["/details/kind"], "ConfigMap");
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_read_is_a_bad_request, ApiRig) {
  BOOST_CHECK_EQUAL(post(kMaps, "{")["/reason"], "BadRequest");
  BOOST_CHECK_EQUAL(post(kMaps, pod("web"))["/reason"], "BadRequest");
  BOOST_CHECK_EQUAL(post(kMaps, R"({"kind":"ConfigMap","apiVersion":"v2"})")["/message"],
                    "the API version in the data (v2) does not match the expected API version (v1)");
  BOOST_CHECK_EQUAL(post(kMaps, R"({"metadata":{"name":7}})").status, 400);
  BOOST_CHECK_EQUAL(get(kMaps + "?labelSelector=a%3D%3D%3Db").status, 400);
  BOOST_CHECK_EQUAL(get(kMaps + "?fieldSelector=spec.x%3Db").status, 400);
  BOOST_CHECK_EQUAL(get("/api/v1/nothing").status, 404);
  BOOST_CHECK_EQUAL(get("/nothing").status, 404);
  BOOST_CHECK_EQUAL(post(kMaps + "/one", config_map("one")).status, 405);
  BOOST_CHECK_EQUAL(post("/api/v1/configmaps", config_map("one")).status, 405);
  BOOST_CHECK_EQUAL(put(kMaps, config_map("one")).status, 405);
  BOOST_CHECK_EQUAL(get(kMaps, "Accept: application/xml\r\n").status, 406);
  BOOST_CHECK_EQUAL(post(kMaps, std::string(4u << 20, 'x')).status, 413);
}

// ---- services ------------------------------------------------------------------------------------

const std::string kServices = "/api/v1/namespaces/default/services";
std::string service(std::string_view name, std::string_view more = "") {
  return fmt::format(R"({{"metadata":{{"name":"{}"}},"spec":{{{}"ports":[{{"port":80}}]}}}})", name, more);
}

BOOST_FIXTURE_TEST_CASE(cluster_ips_are_given_and_given_back, ApiRig) {
  const auto one = post(kServices, service("one"));
  BOOST_REQUIRE_MESSAGE(one.status == 201, one.body);
  const std::string ip = one["/spec/clusterIP"];
  BOOST_CHECK_EQUAL(ip.find("10.96."), 0u);
  BOOST_CHECK_EQUAL(one["/spec/clusterIPs/0"], ip);
  BOOST_CHECK_EQUAL(one["/spec/ipFamilies/0"], "IPv4");
  BOOST_CHECK_EQUAL(one["/spec/ipFamilyPolicy"], "SingleStack");
  const auto twice = post(kServices, service("two", fmt::format(R"("clusterIP":"{}",)", ip)));
  check_status(
      twice, 422, "Invalid",
      fmt::format("Service \"two\" is invalid: spec.clusterIPs: Invalid value: [\"{0}\"]: failed to allocate IP {0}: "
                  "provided IP is already allocated",
                  ip));
  BOOST_CHECK(post(kServices, service("two", R"("clusterIP":"192.0.2.1",)"))["/message"].find(
                  "The range of valid IPs is 10.96.0.0/16") != std::string::npos);
  BOOST_CHECK_EQUAL(remove(kServices + "/one")["/spec/clusterIP"], ip);
  BOOST_CHECK_EQUAL(post(kServices, service("two", fmt::format(R"("clusterIP":"{}",)", ip))).status, 201);
  BOOST_CHECK_EQUAL(post(kServices, service("none", R"("clusterIP":"None",)"))["/spec/clusterIPs/0"], "None");
  // A PUT of what was first sent keeps what was given since.
  const auto again = put(kServices + "/two", service("two"));
  BOOST_CHECK_EQUAL(again["/spec/clusterIP"], ip);
}

BOOST_FIXTURE_TEST_CASE(node_ports_are_unique_and_in_their_range, ApiRig) {
  const auto one = post(kServices, service("one", R"("type":"NodePort",)"));
  const int given = std::stoi(one["/spec/ports/0/nodePort"]);
  BOOST_CHECK(given >= 30000 && given <= 32767);
  const auto with_port = [](std::string_view name, int port) {
    return fmt::format(
        R"({{"metadata":{{"name":"{}"}},"spec":{{"type":"NodePort","ports":[{{"port":80,"nodePort":{}}}]}}}})", name,
        port);
  };
  check_status(
      post(kServices, with_port("two", given)), 422, "Invalid",
      fmt::format(
          "Service \"two\" is invalid: spec.ports[0].nodePort: Invalid value: {}: provided port is already allocated",
          given));
  check_status(
      post(kServices, with_port("two", 80)), 422, "Invalid",
      "Service \"two\" is invalid: spec.ports[0].nodePort: Invalid value: 80: provided port is not in the valid range. "
      "The range of valid ports is 30000-32767");
  const auto shrunk = patch("merge", kServices + "/one", R"({"spec":{"type":"ClusterIP"}})");
  BOOST_CHECK_MESSAGE(shrunk.status == 200, shrunk.body);
  BOOST_CHECK_EQUAL(shrunk["/spec/ports/0/nodePort"], "");
  BOOST_CHECK_EQUAL(post(kServices, with_port("two", given)).status, 201);
  remove(kServices + "/two");
  remove(kServices + "/one");
  BOOST_CHECK_EQUAL(etcdctl({"get", "--prefix", "--keys-only", "/registry/ranges/"}).out, "");
}

BOOST_AUTO_TEST_CASE(no_two_services_share_an_address_whatever_races) {
  ApiRig rig({.server = {.registry = {.service_cluster_ips = *host::Cidr::parse("10.96.0.0/25"),
                                      .node_port_first = 30000,
                                      .node_port_last = 30099}}});
  std::vector<std::thread> threads;
  std::atomic<int> made = 0, refused = 0, odd = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      HttpClient client(rig.port());
      for (int i = 0; i < 20; ++i) {
        const auto answer =
            client.request("POST", kServices, service(fmt::format("s{}-{}", t, i), R"("type":"NodePort",)"));
        ++(answer.status == 201 ? made : answer.status == 422 ? refused : odd);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  // 100 ports and 126 addresses for 160 Services: every port goes, and none twice.
  BOOST_CHECK_EQUAL(made.load(), 100);
  BOOST_CHECK_EQUAL(refused.load(), 60);
  BOOST_CHECK_EQUAL(odd.load(), 0);
  std::set<std::string> ips, ports;
  const auto list = rig.get(kServices);
  for (int i = 0; i < 100; ++i) {
    ips.insert(list[fmt::format("/items/{}/spec/clusterIP", i)]);
    ports.insert(list[fmt::format("/items/{}/spec/ports/0/nodePort", i)]);
  }
  BOOST_CHECK_EQUAL(ips.size(), 100u);
  BOOST_CHECK_EQUAL(ports.size(), 100u);
}

// ---- events --------------------------------------------------------------------------------------

BOOST_AUTO_TEST_CASE(events_are_one_object_in_two_views_and_end_by_a_lease) {
  ApiRig rig;
  const std::string core = "/api/v1/namespaces/default/events";
  const std::string events = "/apis/events.k8s.io/v1/namespaces/default/events";
  const auto made = rig.post(
      core,
      R"({"metadata":{"name":"e"},"involvedObject":{"kind":"Pod","namespace":"default","name":"web"},"reason":"Started","message":"well","type":"Normal"})");
  BOOST_REQUIRE_MESSAGE(made.status == 201, made.body);
  BOOST_CHECK_EQUAL(rig.get(events + "/e")["/regarding/name"], "web");
  BOOST_CHECK_EQUAL(rig.get(events)["/items/0/note"], "well");
  BOOST_CHECK_EQUAL(rig.get(core + "?fieldSelector=involvedObject.name%3Dweb")["/items/0/reason"], "Started");
  BOOST_CHECK_EQUAL(rig.get(core + "?fieldSelector=involvedObject.name%3Dother")["/items/0"], "");
  const auto patched = rig.patch("merge", events + "/e", R"({"note":"better"})");
  BOOST_CHECK_MESSAGE(patched.status == 200, patched.body);
  BOOST_CHECK_EQUAL(rig.get(core + "/e")["/message"], "better");
  const auto fields = rig.etcdctl({"get", "-w", "fields", "/registry/events/default/e"});
  BOOST_CHECK_EQUAL(fields.out.find("\"Lease\" : 0"), std::string::npos);
  BOOST_CHECK(fields.out.find("\"Lease\" : ") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(what_the_pods_of_a_node_name_is_copied_to_it, ApiRig) {
  const auto eventually = [&](const std::string& key, std::string_view pointer, const std::string& wanted) {
    std::string value;
    for (int i = 0; i < 100; ++i) {
      value = json_at(etcdctl({"get", "--print-value-only", "/registry/hosts/n1/" + key}).out, pointer);
      if (value == wanted) return;
      std::this_thread::sleep_for(milliseconds(20));
    }
    BOOST_CHECK_EQUAL(value, wanted);
  };
  post(kMaps, config_map("conf"));
  const auto web =
      pod("web", "",
          R"("volumes":[{"name":"v","configMap":{"name":"conf"}},{"name":"s","secret":{"secretName":"late"}}],)");
  BOOST_REQUIRE_EQUAL(post(kPods, web).status, 201);
  post(kPods + "/web/binding", binding("web", "n1"));
  eventually("configmaps/default/conf", "/data/a", "1");
  put(kMaps + "/conf", config_map("conf", "2"));
  eventually("configmaps/default/conf", "/data/a", "2");
  post("/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"late"},"stringData":{"a":"b"}})");
  eventually("secrets/default/late", "/data/a", "Yg==");
  // While nobody looked, a Pod went: the start makes good what is left over.
  etcdctl({"put", "/registry/hosts/n9/configmaps/default/conf", "{}"});
  restart_server();
  remove(kPods + "/web", R"({"gracePeriodSeconds":0})");
  for (int i = 0; i < 100 && !etcdctl({"get", "--prefix", "--keys-only", "/registry/hosts/"}).out.empty(); ++i) {
    std::this_thread::sleep_for(milliseconds(20));
  }
  BOOST_CHECK_EQUAL(etcdctl({"get", "--prefix", "--keys-only", "/registry/hosts/"}).out, "");
}

// ---- forms of an answer --------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(answers_come_as_tables_metadata_and_yaml, ApiRig) {
  post(kPods, pod("web"));
  const std::string accept = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n";
  const auto table = get(kPods + "?limit=500", accept);
  BOOST_CHECK_EQUAL(table["/kind"], "Table");
  BOOST_CHECK_EQUAL(table["/rows/0/cells/2"], "Pending");
  BOOST_CHECK_EQUAL(table["/rows/0/object/kind"], "PartialObjectMetadata");
  BOOST_CHECK_EQUAL(get(kPods + "/web?includeObject=Object", accept)["/rows/0/object/kind"], "Pod");
  const auto metadata = get(kPods, "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1\r\n");
  BOOST_CHECK_EQUAL(metadata["/kind"], "PartialObjectMetadataList");
  BOOST_CHECK_EQUAL(metadata["/items/0/metadata/name"], "web");
  BOOST_CHECK_EQUAL(metadata["/items/0/spec"], "");
  BOOST_CHECK(get(kPods + "/web", "Accept: application/yaml\r\n").body.find("kind: Pod\n") != std::string::npos);
  BOOST_CHECK_EQUAL(get(kPods + "/web", "Accept: application/vnd.kubernetes.protobuf,application/json\r\n")["/kind"],
                    "Pod");
}

// ---- failures ------------------------------------------------------------------------------------

BOOST_FIXTURE_TEST_CASE(a_watch_goes_on_over_a_restart_of_the_server, ApiRig) {
  post(kMaps, config_map("a"));
  const std::string at = get(kMaps)["/metadata/resourceVersion"];
  post(kMaps, config_map("b"));
  restart_server();
  HttpClient watch(port());
  watch.open(kMaps + "?watch=true&resourceVersion=" + at);
  BOOST_CHECK_EQUAL(next(watch), "ADDED b");
  post(kMaps, config_map("c"));
  BOOST_CHECK_EQUAL(next(watch), "ADDED c");
}

BOOST_AUTO_TEST_CASE(what_is_written_before_the_first_list_has_come_is_not_missed) {
  ApiRig rig({.store = {.replay = 0}});
  const std::string big(900'000, 'x');  // so that the list takes its time
  for (int i = 0; i < 6; ++i) rig.post(kMaps, config_map(fmt::format("big{}", i), big));
  rig.restart_server();
  BOOST_CHECK_EQUAL(rig.post("/api/v1/namespaces", R"({"metadata":{"name":"early"}})").status, 201);
  const auto made = rig.post("/api/v1/namespaces/early/configmaps", config_map("one"));
  BOOST_CHECK_MESSAGE(made.status == 201, made.body);
}

BOOST_FIXTURE_TEST_CASE(etcd_may_go_away_and_come_back, ApiRig) {
  post(kMaps, config_map("a"));
  HttpClient watch(port());
  watch.open(kMaps + "?watch=true&resourceVersion=" + get(kMaps)["/metadata/resourceVersion"]);
  kill_etcd();
  BOOST_CHECK_EQUAL(get(kMaps + "/a").status, 200);  // nobody else can have changed it
  const auto lost = post(kMaps, config_map("b"));
  BOOST_CHECK_EQUAL(lost.status, 504);
  BOOST_CHECK_EQUAL(lost["/reason"], "Timeout");
  start_etcd();
  HttpAnswer made;
  for (int i = 0; i < 100 && made.status != 201 && made.status != 409; ++i) made = post(kMaps, config_map("b"));
  BOOST_CHECK(made.status == 201 || made.status == 409);
  BOOST_CHECK_EQUAL(next(watch), "ADDED b");
}

BOOST_AUTO_TEST_CASE(two_servers_on_one_etcd_read_what_the_other_has_written) {
  ApiRig one({.store = {.sole_writer = false}});
  // A second store and server over the same etcd, as another master would be.
  SecondServer two(one.etcd_endpoint());
  HttpClient other(two.port());
  for (int i = 0; i < 50; ++i) {
    const std::string name = fmt::format("m{}", i);
    BOOST_REQUIRE_EQUAL(one.post(kMaps, config_map(name)).status, 201);
    BOOST_CHECK_EQUAL(other.request("GET", kMaps + "/" + name).status, 200);
    BOOST_CHECK_EQUAL(other.request("PUT", kMaps + "/" + name, config_map(name, "2")).status, 200);
    BOOST_CHECK_EQUAL(one.get(kMaps + "/" + name)["/data/a"], "2");
  }
  // Somebody writes elsewhere in etcd: reads do not wait for what never comes.
  one.etcdctl({"put", "/elsewhere", "x"});
  BOOST_CHECK_EQUAL(one.get(kMaps + "/m0").status, 200);
}

BOOST_FIXTURE_TEST_CASE(many_who_change_one_object_all_succeed, ApiRig) {
  post(kMaps, R"({"metadata":{"name":"one"}})");
  std::vector<std::thread> threads;
  std::atomic<int> odd = 0;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      HttpClient client(port());
      for (int i = 0; i < 20; ++i) {
        const auto answer = client.request("PATCH", kMaps + "/one", fmt::format(R"({{"data":{{"k{}-{}":"v"}}}})", t, i),
                                           "Content-Type: application/merge-patch+json\r\n");
        if (answer.status != 200) ++odd;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  BOOST_CHECK_EQUAL(odd.load(), 0);
  const auto one = get(kMaps + "/one");
  for (int t = 0; t < 8; ++t) {
    for (int i = 0; i < 20; ++i) BOOST_CHECK_EQUAL(one[fmt::format("/data/k{}-{}", t, i)], "v");
  }
}

}  // namespace
}  // namespace keelson::test
