// What happens to objects whose owners go.

#include "master/controllers/owner_graph.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>

#include "test/unit/master/controllers/model.h"

BOOST_AUTO_TEST_SUITE(owner_graph_tests)

using namespace keelson;
using namespace keelson::controllers;

namespace {

using Type = OwnerAction::Type;
using Uids = std::vector<std::string>;

struct Fixture {
  OwnerGraph graph;
  std::unordered_set<std::string> absent, present;

  Uids put(const api::ReplicationController& object) {
    return graph.set(api::resource_of<api::ReplicationController>(), object.metadata);
  }
  Uids put(const api::Pod& object) { return graph.set(api::resource_of<api::Pod>(), object.metadata); }
  OwnerAction decide(const std::string& uid) { return graph.decide(uid, absent, present); }
};

bool has(const Uids& uids, const std::string& uid) { return std::find(uids.begin(), uids.end(), uid) != uids.end(); }

api::ReplicationController going(const char* finalizer) {
  api::ReplicationController made = controller(1);
  made.metadata.deletion_timestamp = api::Time{5};
  made.metadata.finalizers = {finalizer};
  return made;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(what_is_owned_stays_and_goes_with_its_owner, Fixture) {
  put(controller(1));
  BOOST_TEST(has(put(owned(pod("p"))), "uid-p"));
  BOOST_CHECK(decide("uid-p").type == Type::none);
  BOOST_TEST(put(owned(pod("p"))).empty());  // nothing new
  BOOST_TEST(has(graph.remove("uid-rc"), "uid-p"));
  absent.insert("uid-rc");
  const OwnerAction action = decide("uid-p");
  BOOST_CHECK(action.type == Type::remove);
  BOOST_TEST(action.policy == "Background");
}

BOOST_FIXTURE_TEST_CASE(an_owner_that_is_not_known_is_looked_up_before_anything_is_deleted, Fixture) {
  put(owned(pod("p")));
  OwnerAction action = decide("uid-p");
  BOOST_CHECK(action.type == Type::look_up);
  BOOST_TEST(action.owners.at(0).uid == "uid-rc");
  present.insert("uid-rc");
  BOOST_CHECK(decide("uid-p").type == Type::none);
  present.clear();
  absent.insert("uid-rc");
  BOOST_CHECK(decide("uid-p").type == Type::remove);
}

BOOST_FIXTURE_TEST_CASE(a_namesake_or_one_of_another_namespace_is_no_owner, Fixture) {
  api::ReplicationController far = controller(1);
  far.metadata.namespace_ = "elsewhere";
  put(far);
  put(owned(pod("p")));
  BOOST_CHECK(decide("uid-p").type == Type::remove);
  api::ReplicationController again = controller(1);
  again.metadata.uid = "another";
  put(again);
  put(owned(pod("q"), "gone"));
  absent.insert("gone");
  BOOST_CHECK(decide("uid-q").type == Type::remove);
}

BOOST_FIXTURE_TEST_CASE(nobody_can_tell_about_kinds_that_are_not_served, Fixture) {
  api::Pod made = pod("p");
  made.metadata.owner_references.push_back(
      {.api_version = "apps/v1", .kind = "ReplicaSet", .name = "x", .uid = "uid-x", .controller = true});
  put(made);
  absent.insert("uid-x");
  BOOST_CHECK(decide("uid-p").type == Type::none);
}

BOOST_FIXTURE_TEST_CASE(one_owner_of_two_is_enough, Fixture) {
  put(controller(1));
  api::Pod made = owned(pod("p"));
  made.metadata.owner_references.push_back({.api_version = "v1", .kind = "ConfigMap", .name = "gone", .uid = "uid-cm"});
  put(made);
  absent.insert("uid-cm");
  const OwnerAction action = decide("uid-p");
  BOOST_CHECK(action.type == Type::drop_owners);
  BOOST_REQUIRE_EQUAL(action.owners.size(), 1);
  BOOST_TEST(action.owners[0].uid == "uid-cm");
}

BOOST_FIXTURE_TEST_CASE(a_foreground_deletion_waits_for_what_blocks_it, Fixture) {
  put(owned(pod("p")));
  put(going(kForegroundFinalizer));
  BOOST_CHECK(decide("uid-rc").type == Type::none);
  OwnerAction action = decide("uid-p");
  BOOST_CHECK(action.type == Type::remove);
  api::Pod leaving = owned(pod("p"));
  leaving.metadata.deletion_timestamp = api::Time{6};
  put(leaving);
  BOOST_CHECK(decide("uid-p").type == Type::none);
  BOOST_CHECK(decide("uid-rc").type == Type::none);
  BOOST_TEST(has(graph.remove("uid-p"), "uid-rc"));
  BOOST_CHECK(decide("uid-rc").type == Type::finish_foreground);
}

BOOST_FIXTURE_TEST_CASE(the_start_of_a_foreground_deletion_looks_at_all_that_is_owned, Fixture) {
  put(controller(1));
  put(owned(pod("p")));
  put(owned(pod("q")));
  const Uids look = put(going(kForegroundFinalizer));
  BOOST_TEST(has(look, "uid-p"));
  BOOST_TEST(has(look, "uid-q"));
  BOOST_TEST(has(look, "uid-rc"));
}

BOOST_FIXTURE_TEST_CASE(what_owns_something_itself_goes_in_the_foreground, Fixture) {
  put(going(kForegroundFinalizer));
  put(owned(pod("p")));
  api::Pod child = pod("child");
  child.metadata.owner_references.push_back(
      {.api_version = "v1", .kind = "Pod", .name = "p", .uid = "uid-p", .block_owner_deletion = true});
  put(child);
  BOOST_TEST(decide("uid-p").policy == "Foreground");
}

// p0 is owned by p2, p2 by p1, p1 by p0; each waits for what it owns.
BOOST_FIXTURE_TEST_CASE(a_circle_of_owners_waits_for_nobody, Fixture) {
  const auto link = [](const char* name, const char* owner, bool blocks, bool leaving) {
    api::Pod made = pod(name);
    made.metadata.owner_references.push_back({.api_version = "v1",
                                              .kind = "Pod",
                                              .name = owner,
                                              .uid = std::string("uid-") + owner,
                                              .block_owner_deletion = blocks});
    if (leaving) {
      made.metadata.deletion_timestamp = api::Time{5};
      made.metadata.finalizers = {kForegroundFinalizer};
    }
    return made;
  };
  put(link("p0", "p2", true, true));
  put(link("p1", "p0", true, true));
  put(link("p2", "p1", true, false));
  OwnerAction action = decide("uid-p2");
  BOOST_CHECK(action.type == Type::unblock_owners);
  BOOST_REQUIRE_EQUAL(action.owners.size(), 1);
  BOOST_TEST(action.owners[0].uid == "uid-p1");
  const Uids look = put(link("p2", "p1", false, false));
  BOOST_TEST(has(look, "uid-p1"));
  BOOST_TEST(has(look, "uid-p2"));
  BOOST_CHECK(decide("uid-p1").type == Type::finish_foreground);
  action = decide("uid-p2");
  BOOST_CHECK(action.type == Type::remove);
  BOOST_TEST(action.policy == "Foreground");
}

BOOST_FIXTURE_TEST_CASE(orphans_are_freed_and_then_the_owner_goes, Fixture) {
  put(owned(pod("p")));
  BOOST_TEST(has(put(going(kOrphanFinalizer)), "uid-rc"));
  OwnerAction action = decide("uid-rc");
  BOOST_CHECK(action.type == Type::orphan_dependents);
  BOOST_TEST(action.dependents == Uids{"uid-p"});
  BOOST_CHECK(decide("uid-p").type == Type::none);  // its owner is still there
  put(pod("p"));
  action = decide("uid-rc");
  BOOST_CHECK(action.type == Type::orphan_dependents);
  BOOST_TEST(action.dependents.empty());
}

BOOST_AUTO_TEST_SUITE_END()
