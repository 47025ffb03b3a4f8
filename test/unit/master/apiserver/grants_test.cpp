#include "master/apiserver/grants.h"

#include <boost/test/unit_test.hpp>

using namespace keelson;
using namespace keelson::apiserver;

namespace {

Attributes resource(std::string verb, std::string group, std::string plural, std::string namespace_ = "default",
                    std::string subresource = {}) {
  Attributes a;
  a.is_resource = true;
  a.verb = std::move(verb);
  a.group = std::move(group);
  a.resource = std::move(plural);
  a.namespace_ = std::move(namespace_);
  a.subresource = std::move(subresource);
  return a;
}
Attributes path(std::string verb, std::string path) {
  Attributes a;
  a.verb = std::move(verb);
  a.path = std::move(path);
  return a;
}

const User kMaster = {.name = "admin", .groups = {"system:masters", "system:authenticated"}};
const User kJane = {.name = "jane", .groups = {"dev", "system:authenticated"}};
const User kNobody = {.name = "system:anonymous", .groups = {"system:unauthenticated"}};
const User kScheduler = {.name = "system:kube-scheduler", .groups = {"system:authenticated"}};
const User kControllers = {.name = "system:kube-controller-manager", .groups = {"system:authenticated"}};

}  // namespace

BOOST_AUTO_TEST_CASE(masters_may_do_everything) {
  BOOST_TEST(granted(kMaster, resource("deletecollection", "any.group", "things")));
  BOOST_TEST(granted(kMaster, resource("create", "", "pods", "x", "exec")));
  BOOST_TEST(granted(kMaster, path("get", "/metrics")));
}

BOOST_AUTO_TEST_CASE(others_may_look_at_what_there_is_and_ask_what_they_may) {
  for (const char* open : {"/api", "/api/v1", "/apis", "/apis/apps", "/openapi/v2", "/openapi/v3/api/v1", "/version",
                           "/version/", "/healthz", "/readyz/etcd"}) {
    BOOST_TEST(granted(kJane, path("get", open)), open);
    BOOST_TEST(!granted(kJane, path("post", open)), open);
  }
  BOOST_TEST(granted(kJane, resource("create", "authorization.k8s.io", "selfsubjectaccessreviews", "")));
  BOOST_TEST(granted(kJane, resource("create", "authentication.k8s.io", "selfsubjectreviews", "")));
  BOOST_TEST(!granted(kJane, resource("get", "", "pods")));
  BOOST_TEST(!granted(kJane, path("get", "/metrics")));
  BOOST_TEST(!granted(kJane, path("get", "/apiary")));
  // A name of a group is no user's.
  BOOST_TEST(!granted({.name = "system:masters", .groups = {}}, resource("get", "", "pods")));
  BOOST_TEST(!granted({.name = "x", .groups = {"system:kube-scheduler"}}, resource("get", "", "pods")));
}

BOOST_AUTO_TEST_CASE(nobody_may_probe_and_nothing_else) {
  BOOST_TEST(granted(kNobody, path("get", "/readyz")));
  BOOST_TEST(granted(kNobody, path("get", "/version")));
  BOOST_TEST(!granted(kNobody, path("get", "/api")));
  BOOST_TEST(!granted(kNobody, resource("create", "authentication.k8s.io", "selfsubjectreviews", "")));
}

BOOST_AUTO_TEST_CASE(the_scheduler_binds_and_does_not_meddle) {
  BOOST_TEST(granted(kScheduler, resource("watch", "", "pods", "")));
  BOOST_TEST(granted(kScheduler, resource("create", "", "pods", "default", "binding")));
  BOOST_TEST(granted(kScheduler, resource("patch", "", "pods", "default", "status")));
  BOOST_TEST(granted(kScheduler, resource("create", "", "events")));
  BOOST_TEST(granted(kScheduler, resource("update", "coordination.k8s.io", "leases", "kube-system")));
  BOOST_TEST(!granted(kScheduler, resource("update", "coordination.k8s.io", "leases", "kube-node-lease")));
  BOOST_TEST(!granted(kScheduler, resource("create", "", "pods")));
  BOOST_TEST(!granted(kScheduler, resource("update", "", "pods")));
  BOOST_TEST(!granted(kScheduler, resource("get", "", "secrets")));
  BOOST_TEST(!granted(kScheduler, resource("update", "", "nodes", "")));
}

BOOST_AUTO_TEST_CASE(the_controllers_reach_every_kind_and_make_only_their_own) {
  BOOST_TEST(granted(kControllers, resource("create", "", "pods")));
  BOOST_TEST(granted(kControllers, resource("create", "discovery.k8s.io", "endpointslices")));
  BOOST_TEST(granted(kControllers, resource("deletecollection", "", "secrets")));
  BOOST_TEST(granted(kControllers, resource("update", "", "namespaces", "x", "finalize")));
  BOOST_TEST(granted(kControllers, resource("update", "", "replicationcontrollers", "x", "status")));
  BOOST_TEST(granted(kControllers, resource("patch", "", "nodes", "")));
  BOOST_TEST(!granted(kControllers, resource("create", "", "secrets")));
  BOOST_TEST(!granted(kControllers, resource("create", "", "nodes", "")));
  BOOST_TEST(!granted(kControllers, resource("create", "", "pods", "x", "exec")));
}

BOOST_AUTO_TEST_CASE(the_same_grants_are_told_as_rules) {
  api::SubjectRulesReviewStatus status;
  append_rules(kMaster, "default", status);
  BOOST_REQUIRE(!status.resource_rules.empty());
  BOOST_TEST((status.resource_rules[0].verbs == std::vector<std::string>{"*"}));
  BOOST_TEST((status.non_resource_rules[0].non_resource_urls == std::vector<std::string>{"*"}));
  api::SubjectRulesReviewStatus here, elsewhere;
  append_rules(kScheduler, "kube-system", here);
  append_rules(kScheduler, "default", elsewhere);
  BOOST_TEST(here.resource_rules.size() == elsewhere.resource_rules.size() + 1);
}
