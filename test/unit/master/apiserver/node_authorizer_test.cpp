#include "master/apiserver/node_authorizer.h"

#include <boost/test/unit_test.hpp>

#include "master/apiserver/pod_references.h"

using namespace keelson;
using namespace keelson::apiserver;

namespace {

const User kAgent = {.name = "system:node:n1", .groups = {"system:nodes", "system:authenticated"}};

Attributes ask(std::string verb, std::string plural, std::string namespace_, std::string name,
               std::string subresource = {}, std::string group = {}) {
  Attributes a;
  a.is_resource = true;
  a.verb = std::move(verb);
  a.group = std::move(group);
  a.resource = std::move(plural);
  a.namespace_ = std::move(namespace_);
  a.name = std::move(name);
  a.subresource = std::move(subresource);
  return a;
}

api::Pod pod(std::string name, std::string node) {
  api::Pod pod;
  pod.metadata.namespace_ = "default";
  pod.metadata.name = std::move(name);
  pod.spec.node_name = std::move(node);
  pod.spec.containers.push_back({.name = "main"});
  return pod;
}

struct Cluster {
  KindCache pods{api::resource_of<api::Pod>(), {}};
  NodeAuthorizer authorizer{pods};
  int64_t revision = 0;

  Cluster() {
    api::Pod mine = pod("mine", "n1");
    auto& container = mine.spec.containers.front();
    container.env.push_back({.name = "A"});
    container.env.back().value_from.emplace().secret_key_ref.emplace().ref.name = "from-env";
    container.env_from.emplace_back();
    container.env_from.back().config_map_ref.emplace().ref.name = "env-from";
    mine.spec.volumes.emplace_back();
    mine.spec.volumes.back().source.secret.emplace().secret_name = "volume";
    mine.spec.volumes.emplace_back();
    mine.spec.volumes.back().source.projected.emplace().sources.emplace_back();
    mine.spec.volumes.back().source.projected->sources.back().config_map.emplace().ref.name = "projected";
    mine.spec.image_pull_secrets.push_back({.name = "pull"});
    mine.spec.service_account_name = "robot";
    put(mine);
    put(pod("theirs", "n2"));
    put(pod("unbound", ""));
  }
  void put(const api::Pod& pod) {
    const api::AnyObject object(pod);
    ++revision;
    pods.put(pod.metadata.namespace_ + "/" + pod.metadata.name,
             make_version(object, api::encode_json(object), revision, 0));
  }
  bool may(const Attributes& attributes) { return authorizer.authorize(kAgent, attributes).allowed; }
  std::string refusal(const Attributes& attributes, const api::AnyObject* next, const api::AnyObject* old = nullptr) {
    const auto status = authorizer.admit(kAgent, attributes, next, old);
    return status ? status->message : std::string();
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_node_reads_only_what_its_own_pods_name) {
  Cluster cluster;
  for (const char* name : {"from-env", "volume", "pull"}) {
    BOOST_TEST(cluster.may(ask("get", "secrets", "default", name)), name);
    BOOST_TEST(cluster.may(ask("watch", "secrets", "default", name)), name);
    BOOST_TEST(!cluster.may(ask("get", "secrets", "other", name)), name);
    BOOST_TEST(!cluster.may(ask("update", "secrets", "default", name)), name);
    BOOST_TEST(!cluster.may(ask("get", "configmaps", "default", name)), name);
  }
  for (const char* name : {"env-from", "projected"}) {
    BOOST_TEST(cluster.may(ask("get", "configmaps", "default", name)), name);
  }
  BOOST_TEST(!cluster.may(ask("get", "secrets", "default", "another")));
  BOOST_TEST(!cluster.may(ask("list", "secrets", "default", "")));
  BOOST_TEST(!cluster.may(ask("list", "secrets", "", "volume")));
  BOOST_TEST(cluster.may(ask("get", "serviceaccounts", "default", "robot")));
  BOOST_TEST(!cluster.may(ask("create", "serviceaccounts", "default", "robot", "token")));
  const User other = {.name = "system:node:n2", .groups = {"system:nodes"}};
  BOOST_TEST(!cluster.authorizer.authorize(other, ask("get", "secrets", "default", "volume")).allowed);
}

BOOST_AUTO_TEST_CASE(a_node_touches_only_pods_that_are_bound_to_it) {
  Cluster cluster;
  for (const auto& [verb, subresource] : {std::pair{"get", ""}, std::pair{"delete", ""}, std::pair{"patch", "status"},
                                          std::pair{"update", "status"}, std::pair{"create", "eviction"}}) {
    BOOST_TEST(cluster.may(ask(verb, "pods", "default", "mine", subresource)), verb);
    BOOST_TEST(!cluster.may(ask(verb, "pods", "default", "theirs", subresource)), verb);
    BOOST_TEST(!cluster.may(ask(verb, "pods", "default", "unbound", subresource)), verb);
    BOOST_TEST(cluster.may(ask(verb, "pods", "default", "gone", subresource)), verb);  // to hear 404
  }
  BOOST_TEST(!cluster.may(ask("update", "pods", "default", "mine")));
  BOOST_TEST(!cluster.may(ask("create", "pods", "default", "mine", "binding")));
  BOOST_TEST(!cluster.may(ask("create", "pods", "default", "mine", "exec")));
  BOOST_TEST(!cluster.may(ask("deletecollection", "pods", "default", "")));
}

BOOST_AUTO_TEST_CASE(a_node_lists_its_own_pods_and_no_others) {
  Cluster cluster;
  for (const char* verb : {"list", "watch"}) {
    auto all = ask(verb, "pods", "", "");
    BOOST_TEST(!cluster.may(all));
    all.field_selector = "spec.nodeName=n1";
    BOOST_TEST(cluster.may(all));
    all.field_selector = "status.phase=Running,spec.nodeName==n1";
    BOOST_TEST(cluster.may(all));
    for (const char* others : {"spec.nodeName=n2", "spec.nodeName!=n1", "metadata.name=theirs"}) {
      all.field_selector = others;
      BOOST_TEST(!cluster.may(all), others);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_node_has_its_node_and_its_lease_and_reads_services) {
  Cluster cluster;
  BOOST_TEST(cluster.may(ask("list", "nodes", "", "")));
  BOOST_TEST(cluster.may(ask("patch", "nodes", "", "n1", "status")));
  BOOST_TEST(cluster.may(ask("update", "nodes", "", "n1")));
  BOOST_TEST(cluster.may(ask("create", "nodes", "", "")));
  BOOST_TEST(!cluster.may(ask("patch", "nodes", "", "n2", "status")));
  BOOST_TEST(!cluster.may(ask("delete", "nodes", "", "n1")));
  const auto lease = [](std::string verb, std::string namespace_, std::string name) {
    return ask(std::move(verb), "leases", std::move(namespace_), std::move(name), "", "coordination.k8s.io");
  };
  BOOST_TEST(cluster.may(lease("update", "kube-node-lease", "n1")));
  BOOST_TEST(cluster.may(lease("create", "kube-node-lease", "")));
  BOOST_TEST(!cluster.may(lease("update", "kube-node-lease", "n2")));
  BOOST_TEST(!cluster.may(lease("update", "kube-system", "n1")));
  BOOST_TEST(cluster.may(ask("watch", "services", "", "")));
  BOOST_TEST(cluster.may(ask("watch", "endpointslices", "", "", "", "discovery.k8s.io")));
  BOOST_TEST(!cluster.may(ask("create", "services", "default", "")));
  BOOST_TEST(!cluster.may(ask("update", "services", "default", "x", "status")));
  BOOST_TEST(cluster.may(ask("create", "events", "default", "")));
  BOOST_TEST(!cluster.may(ask("list", "events", "default", "")));
  BOOST_TEST(!cluster.may(ask("list", "replicationcontrollers", "", "")));
}

BOOST_AUTO_TEST_CASE(the_name_or_the_group_alone_makes_nobody_a_node) {
  Cluster cluster;
  const auto asked = ask("get", "pods", "default", "mine");
  BOOST_TEST(!cluster.authorizer.authorize({.name = "system:node:n1", .groups = {}}, asked).allowed);
  BOOST_TEST(!cluster.authorizer.authorize({.name = "n1", .groups = {"system:nodes"}}, asked).allowed);
  BOOST_TEST(!cluster.authorizer.authorize({.name = "system:node:", .groups = {"system:nodes"}}, asked).allowed);
}

BOOST_AUTO_TEST_CASE(a_node_creates_mirrors_of_its_own_pods_only) {
  Cluster cluster;
  const auto create = ask("create", "pods", "default", "");
  api::Pod mirror = pod("static-n1", "n1");
  const auto refusal = [&](const api::Pod& pod) {
    const api::AnyObject object(pod);
    return cluster.refusal(create, &object);
  };
  BOOST_TEST(refusal(mirror).find("can only create mirror pods") != std::string::npos);
  mirror.metadata.annotations["kubernetes.io/config.mirror"] = "hash";
  BOOST_TEST(refusal(mirror).empty());
  mirror.metadata.owner_references.push_back({.api_version = "v1", .kind = "Node", .name = "n1"});
  BOOST_TEST(refusal(mirror).empty());
  api::Pod wrong = mirror;
  wrong.spec.node_name = "n2";
  BOOST_TEST(refusal(wrong).find("set to itself") != std::string::npos);
  wrong = mirror;
  wrong.metadata.owner_references.front().name = "n2";
  BOOST_TEST(refusal(wrong).find("owner reference") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_mirror_opens_nothing_that_it_names) {
  Cluster cluster;
  api::Pod mirror = pod("static-n1", "n1");
  mirror.metadata.annotations["kubernetes.io/config.mirror"] = "hash";
  mirror.spec.image_pull_secrets.push_back({.name = "wanted"});
  cluster.put(mirror);
  BOOST_TEST(!cluster.may(ask("get", "secrets", "default", "wanted")));
  mirror.metadata.annotations.clear();
  cluster.put(mirror);
  BOOST_TEST(cluster.may(ask("get", "secrets", "default", "wanted")));
}

BOOST_AUTO_TEST_CASE(a_node_does_not_give_itself_what_others_decide) {
  Cluster cluster;
  api::Node current;
  current.metadata.name = "n1";
  current.spec.pod_cidr = "10.244.1.0/24";
  current.spec.taints.push_back({.key = "a", .effect = "NoSchedule"});
  const api::AnyObject old(current);
  const auto refusal = [&](const api::Node& node, const api::AnyObject* before) {
    const api::AnyObject object(node);
    return cluster.refusal(ask(before == nullptr ? "create" : "update", "nodes", "", before == nullptr ? "" : "n1"),
                           &object, before);
  };
  api::Node next = current;
  next.metadata.labels["colour"] = "red";
  next.status.node_info.kernel_version = "6.1";
  BOOST_TEST(refusal(next, &old).empty());
  next.spec.taints.clear();
  BOOST_TEST(refusal(next, &old).find("modify taints") != std::string::npos);
  next = current;
  next.spec.pod_cidr = "10.244.2.0/24";
  BOOST_TEST(refusal(next, &old).find("pod CIDRs") != std::string::npos);
  next = current;
  next.metadata.labels["node-restriction.kubernetes.io/trusted"] = "yes";
  BOOST_TEST(refusal(next, &old).find("node-restriction") != std::string::npos);
  next = {};
  next.metadata.name = "n1";
  BOOST_TEST(refusal(next, nullptr).empty());
  next.metadata.name = "n2";
  BOOST_TEST(refusal(next, nullptr).find("not allowed to modify node \"n2\"") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(admission_asks_nobody_but_nodes) {
  Cluster cluster;
  const api::AnyObject object(pod("any", ""));
  const User admin = {.name = "admin", .groups = {"system:masters"}};
  BOOST_TEST(!cluster.authorizer.admit(admin, ask("create", "pods", "default", ""), &object, nullptr).has_value());
}
