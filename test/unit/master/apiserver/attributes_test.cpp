#include "master/apiserver/attributes.h"

#include <boost/test/unit_test.hpp>

namespace keelson::apiserver {
namespace {

http::Request request(std::string method, const std::string& target) {
  http::Request request{.method = std::move(method), .target = target, .segments = {}, .query = {}, .headers = {}};
  const size_t mark = target.find('?');
  const std::string path = target.substr(0, mark);
  if (mark != std::string::npos) request.query = *http::Query::parse(target.substr(mark + 1));
  for (size_t at = 1; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    request.segments.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return request;
}

std::string asked(std::string method, const std::string& target) {
  const Attributes a = attributes_of(request(std::move(method), target));
  if (!a.is_resource) return a.verb + " path " + a.path;
  std::string text = a.verb + " " + a.resource;
  if (!a.group.empty()) text += "." + a.group;
  if (!a.subresource.empty()) text += "/" + a.subresource;
  if (!a.namespace_.empty()) text += " in " + a.namespace_;
  if (!a.name.empty()) text += " named " + a.name;
  return text;
}

BOOST_AUTO_TEST_CASE(verbs_come_of_method_and_path) {
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/pods"), "list pods");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/namespaces/a/pods"), "list pods in a");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/namespaces/a/pods/web"), "get pods in a named web");
  BOOST_CHECK_EQUAL(asked("HEAD", "/api/v1/namespaces/a/pods/web"), "get pods in a named web");
  BOOST_CHECK_EQUAL(asked("POST", "/api/v1/namespaces/a/pods"), "create pods in a");
  BOOST_CHECK_EQUAL(asked("PUT", "/api/v1/namespaces/a/pods/web/status"), "update pods/status in a named web");
  BOOST_CHECK_EQUAL(asked("PATCH", "/api/v1/nodes/n1"), "patch nodes named n1");
  BOOST_CHECK_EQUAL(asked("DELETE", "/api/v1/namespaces/a/pods"), "deletecollection pods in a");
  BOOST_CHECK_EQUAL(asked("DELETE", "/api/v1/nodes/n1"), "delete nodes named n1");
}

BOOST_AUTO_TEST_CASE(a_watch_is_asked_for_in_the_query_or_by_the_old_path) {
  for (const char* yes : {"watch=true", "watch=1", "watch=True", "watch"}) {
    BOOST_CHECK_EQUAL(asked("GET", std::string("/api/v1/pods?") + yes), "watch pods");
  }
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/pods?watch=false"), "list pods");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/pods?watch=maybe"), "list pods");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/watch/namespaces/a/pods/web"), "watch pods in a named web");
}

BOOST_AUTO_TEST_CASE(a_list_of_one_name_is_about_that_object) {
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1"), "list nodes named n1");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/nodes?watch=1&fieldSelector=metadata.name%3D%3Dn1"), "watch nodes named n1");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/nodes?fieldSelector=metadata.name%3Dn1%2Cspec.x%3D1"), "list nodes");
}

BOOST_AUTO_TEST_CASE(namespaces_are_in_their_own_namespace) {
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/namespaces"), "list namespaces");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/namespaces/a"), "get namespaces in a named a");
  BOOST_CHECK_EQUAL(asked("PUT", "/api/v1/namespaces/a/finalize"), "update namespaces/finalize in a named a");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1/namespaces/a/status"), "get namespaces/status in a named a");
}

BOOST_AUTO_TEST_CASE(groups_and_other_paths_are_told_apart) {
  BOOST_CHECK_EQUAL(asked("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"),
                    "get leases.coordination.k8s.io in kube-node-lease named n1");
  BOOST_CHECK_EQUAL(asked("GET", "/api/v1"), "get path /api/v1");
  BOOST_CHECK_EQUAL(asked("GET", "/apis/apps/v1"), "get path /apis/apps/v1");
  BOOST_CHECK_EQUAL(asked("GET", "/healthz"), "get path /healthz");
  const Attributes proxied = attributes_of(request("GET", "/api/v1/namespaces/a/services/web/proxy/x/y"));
  BOOST_CHECK_EQUAL(proxied.subresource, "proxy");
  BOOST_CHECK_EQUAL(proxied.rest.size(), 2u);
}

}  // namespace
}  // namespace keelson::apiserver
