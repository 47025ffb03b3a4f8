#include "master/apiserver/discovery.h"

#include <boost/test/unit_test.hpp>
#include <future>

#include "http/client.h"
#include "master/apiserver/health.h"
#include "master/apiserver/openapi_documents.h"
#include "test/unit/http/loop_thread.h"

using namespace keelson;
using namespace keelson::apiserver;

namespace {

// Extensions behind the real HTTP server, without the rest.
struct Site : http::Handler {
  test::LoopThread thread;
  std::vector<std::unique_ptr<Extension>> extensions;
  std::unique_ptr<http::Server> server;
  bool etcd_is_there = true;

  Site() {
    extensions.push_back(std::make_unique<Discovery>("192.0.2.1:6443"));
    extensions.push_back(std::make_unique<OpenApiDocuments>());
    extensions.push_back(std::make_unique<VersionEndpoint>("9.9"));
    std::vector<Health::Check> checks;
    checks.push_back({.name = "etcd", .matters_to_livez = false, .check = [this]() -> host::Status {
                        if (etcd_is_there) return {};
                        return host::fail("secret address of etcd");
                      }});
    extensions.push_back(std::make_unique<Health>(std::move(checks)));
    thread.run([this] { server = http::Server::listen(thread.loop(), {}, *this).value(); });
  }
  ~Site() override {
    thread.run([this] { server.reset(); });
  }
  std::expected<size_t, http::Answer> admit(const http::Request&) override { return 0; }
  void handle(http::Request request, http::Exchange exchange) override {
    auto call = std::make_shared<Call>(Call{.user = {},
                                            .attributes = attributes_of(request),
                                            .request = std::move(request),
                                            .exchange = std::move(exchange),
                                            .began = {},
                                            .warnings = {},
                                            .name = {},
                                            .place = nullptr});
    for (auto& extension : extensions) {
      if (extension->serves(call->request, call->attributes)) return extension->handle(std::move(call));
    }
    call->answer({.status = 404, .content_type = "text/plain", .body = "nobody serves it", .headers = {}});
  }
  http::Answer refusal(int status, const std::string& message) override {
    return {.status = status, .content_type = "text/plain", .body = message, .headers = {}};
  }

  http::FetchResponse get(const std::string& path, http::Headers headers = {}, const std::string& method = "GET") {
    std::promise<http::FetchResponse> promise;
    http::FetchHandle handle;
    thread.run([&] {
      handle = http::fetch(
          thread.loop(),
          {.method = method,
           .url = "http://127.0.0.1:" + std::to_string(server->port()) + path,
           .headers = std::move(headers)},
          [&](host::Result<http::FetchResponse> response) {
            promise.set_value(response ? std::move(*response) : http::FetchResponse{.body = response.error().message});
          });
    });
    auto response = promise.get_future().get();
    thread.run([&] { handle = {}; });
    return response;
  }
};

bool has(const http::FetchResponse& response, const std::string& text) {
  return response.body.find(text) != std::string::npos;
}

constexpr const char* kAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
constexpr const char* kAggregatedBeta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

}  // namespace

BOOST_AUTO_TEST_CASE(discovery_tells_the_groups_and_their_kinds) {
  Site site;
  BOOST_TEST(has(site.get("/api"), R"("versions":["v1"])"));
  BOOST_TEST(has(site.get("/api"), "192.0.2.1:6443"));
  BOOST_TEST(has(site.get("/apis"), R"("name":"discovery.k8s.io","versions":[{"groupVersion":"discovery.k8s.io/v1")"));
  BOOST_TEST(has(site.get("/apis/discovery.k8s.io"), R"("kind":"APIGroup")"));
  const auto core = site.get("/api/v1");
  BOOST_TEST(has(core, R"("kind":"APIResourceList","apiVersion":"v1","groupVersion":"v1")"));
  BOOST_TEST(has(core, R"({"name":"pods","singularName":"pod","namespaced":true,"kind":"Pod","verbs":["create",)"));
  BOOST_TEST(
      has(core, R"("name":"pods/eviction","singularName":"","namespaced":true,"group":"policy","version":"v1")"));
  BOOST_TEST(has(core, R"("name":"namespaces/status")"));
  BOOST_TEST(!has(core, "endpointslices"));
  BOOST_TEST(has(site.get("/apis/discovery.k8s.io/v1/"), "endpointslices"));
  // kubectl drain evicts where it finds both pods/eviction and this group; one without kinds makes it complain.
  BOOST_TEST(has(site.get("/apis"), R"("preferredVersion":{"groupVersion":"policy/v1","version":"v1"})"));
  BOOST_TEST(has(site.get("/apis/policy/v1"), R"("name":"poddisruptionbudgets")"));
  BOOST_TEST(site.get("/apis/apps/v1").status == 404);
  BOOST_TEST(site.get("/api", {}, "DELETE").status == 404);
}

BOOST_AUTO_TEST_CASE(aggregated_discovery_comes_to_who_asks_with_the_type_that_was_asked) {
  Site site;
  for (const char* type : {kAggregated, kAggregatedBeta}) {
    const auto response = site.get("/apis", {{"Accept", std::string(type) + ",application/json"}});
    BOOST_TEST(response.headers.get("Content-Type") == type);
    BOOST_TEST(has(response, R"({"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2)"));
    BOOST_TEST(has(response, R"("freshness":"Current")"));
    BOOST_TEST(!has(response, R"("resource":"pods")"));
    const std::string etag(response.headers.get("ETag"));
    BOOST_TEST(site.get("/apis", {{"Accept", type}, {"If-None-Match", etag}}).status == 304);
    BOOST_TEST(site.get("/api", {{"Accept", type}, {"If-None-Match", etag}}).status == 200);
  }
  const auto core = site.get("/api", {{"Accept", kAggregated}});
  BOOST_TEST(
      has(core, R"({"resource":"pods","responseKind":{"group":"","version":"v1","kind":"Pod"},"scope":"Namespaced")"));
  BOOST_TEST(
      has(core, R"({"subresource":"scale","responseKind":{"group":"autoscaling","version":"v1","kind":"Scale"})"));
  BOOST_TEST(has(site.get("/apis", {{"Accept", kAggregated}}),
                 R"({"resource":"poddisruptionbudgets","responseKind":{"group":"policy","version":"v1",)"));
  BOOST_TEST(site.get("/apis", {{"Accept", "application/json"}}).headers.get("Content-Type") == "application/json");
  BOOST_TEST(site.get("/apis", {{"Accept", "text/html"}}).status == 406);
}

BOOST_AUTO_TEST_CASE(openapi_comes_in_the_form_that_is_asked_for) {
  Site site;
  const auto json = site.get("/openapi/v2");
  BOOST_TEST(json.body.starts_with(R"({"swagger":"2.0")"));
  const auto protobuf =
      site.get("/openapi/v2", {{"Accept", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"}});
  BOOST_TEST(protobuf.status == 200);
  // Go's mime.ParseMediaType, which kubectl reads it with, takes no "@".
  BOOST_TEST(protobuf.headers.get("Content-Type") == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
  BOOST_TEST(protobuf.body.find("2.0") != std::string::npos);
  BOOST_TEST(protobuf.headers.get("ETag") != json.headers.get("ETag"));
  BOOST_TEST(site.get("/openapi/v2", {{"Accept", "text/html"}}).status == 406);
  const auto index = site.get("/openapi/v3");
  const size_t at = index.body.find("/openapi/v3/api/v1?hash=");
  BOOST_REQUIRE(at != std::string::npos);
  const auto path = index.body.substr(at, index.body.find('"', at) - at);
  const auto schema = site.get(path);
  BOOST_TEST(schema.body.starts_with(R"({"openapi":"3.0.0")"));
  BOOST_TEST(schema.headers.get("Cache-Control").find("immutable") != std::string_view::npos);
  BOOST_TEST(site.get("/openapi/v3/api/v1?hash=0").headers.get("Cache-Control").empty());
  BOOST_TEST(site.get("/openapi/v3/apis/apps/v1").status == 404);
}

BOOST_AUTO_TEST_CASE(health_tells_what_is_wrong_without_telling_why) {
  Site site;
  for (const char* path : {"/healthz", "/livez", "/readyz", "/readyz/etcd", "/readyz/ping"}) {
    BOOST_TEST(site.get(path).body == "ok", path);
  }
  BOOST_TEST(site.get("/readyz?verbose").body == "[+]ping ok\n[+]etcd ok\nreadyz check passed\n");
  site.etcd_is_there = false;
  const auto response = site.get("/readyz");
  BOOST_TEST(response.status == 500);
  BOOST_TEST(response.body == "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n");
  BOOST_TEST(site.get("/readyz/etcd").status == 500);
  BOOST_TEST(site.get("/readyz?exclude=etcd").body == "ok");
  BOOST_TEST(site.get("/livez").body == "ok");  // a restart would not bring etcd back
  BOOST_TEST(site.get("/healthz/nonsense").status == 404);
}

BOOST_AUTO_TEST_CASE(the_version_is_one_that_clients_can_parse) {
  Site site;
  for (const char* path : {"/version", "/version/"}) {
    const auto response = site.get(path);
    BOOST_TEST(has(response, R"("major":"1","minor":"32","gitVersion":"v1.32.0+keelson-9.9")"), path);
    BOOST_TEST(has(response, R"("platform":"linux/)"), path);
  }
}
