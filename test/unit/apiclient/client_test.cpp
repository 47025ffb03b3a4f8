// The client against an HTTP server that answers what the test says.
#include "apiclient/client.h"

#include <filesystem>
#include <fstream>

#include "test/unit/apiclient/fake_api.h"
#include "test/unit/http/pki.h"

BOOST_AUTO_TEST_SUITE(client_tests)

using namespace std::chrono_literals;
using namespace keelson::apiclient;
using keelson::test::FakeApi;
using keelson::test::status_answer;
namespace api = keelson::api;
namespace host = keelson::host;
namespace http = keelson::http;

namespace {

struct Fixture {
  explicit Fixture(Config config = {}, http::ServerOptions options = {}) : server(std::move(options)) {
    config.server = server.url();
    loop.run([&] {
      auto made = Client::create(loop.loop(), std::move(config));
      BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
      client = std::move(*made);
    });
  }
  ~Fixture() {
    loop.run([&] { client.reset(); });
  }
  // Waits for what `start` was given to call.
  template <typename T>
  Outcome<T> wait(std::function<Call(Done<T>)> start) {
    std::promise<Outcome<T>> promise;
    Call call;
    loop.run([&] { call = start([&](Outcome<T> outcome) { promise.set_value(std::move(outcome)); }); });
    auto outcome = promise.get_future().get();
    loop.run([&] { call = {}; });
    return outcome;
  }
  Outcome<api::ConfigMap> get(const std::string& name) {
    return wait<api::ConfigMap>(
        [&](auto done) { return client->get<api::ConfigMap>("default", name, std::move(done)); });
  }
  void spoil(http::Answer answer) {
    server.run([&] { server.spoiled.push_back(std::move(answer)); });
  }
  http::Request last() {
    http::Request request;
    server.run([&] { request = server.last; });
    return request;
  }
  FakeApi server;
  keelson::test::LoopThread loop;
  std::unique_ptr<Client> client;
};

}  // namespace

BOOST_AUTO_TEST_CASE(paths_are_kubernetes_paths) {
  BOOST_TEST(path_of(api::resource_of<api::Pod>(), "default", "web") == "/api/v1/namespaces/default/pods/web");
  BOOST_TEST(path_of(api::resource_of<api::Pod>(), "") == "/api/v1/pods");
  BOOST_TEST(path_of(api::resource_of<api::Node>(), "ignored", "n 1", "status") == "/api/v1/nodes/n%201/status");
  BOOST_TEST(path_of(api::resource_of<api::Lease>(), "kube-node-lease", "n") ==
             "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n");
}

BOOST_AUTO_TEST_CASE(an_object_is_read_and_its_absence_is_a_status) {
  Fixture fixture({.token = "secret", .user_agent = "keelson-test"});
  fixture.spoil({.body = FakeApi::object("a", 7, "x")});
  const auto got = fixture.get("a");
  BOOST_REQUIRE_MESSAGE(got.has_value(), (got ? "" : got.error().message));
  BOOST_TEST(got->data.at("v") == "x");
  BOOST_TEST(got->metadata.resource_version == "7");
  auto request = fixture.last();
  BOOST_TEST(request.target == "/api/v1/namespaces/default/configmaps/a");
  BOOST_TEST(request.headers.get("authorization") == "Bearer secret");
  BOOST_TEST(request.headers.get("user-agent") == "keelson-test");
  BOOST_TEST(request.headers.get("accept") == "application/json");

  fixture.spoil(status_answer(404, "NotFound", "configmaps b not found"));
  const auto absent = fixture.get("b");
  BOOST_REQUIRE(!absent.has_value());
  BOOST_TEST(absent.error().not_found());
  BOOST_TEST(absent.error().reason == "NotFound");
  BOOST_TEST(absent.error().message == "GET /api/v1/namespaces/default/configmaps/b: configmaps b not found");
  BOOST_TEST((absent.error().error().code == host::Error::Code::not_found));
}

BOOST_AUTO_TEST_CASE(failures_are_told_apart) {
  Fixture fixture;
  const auto failure = [&](http::Answer answer) {
    fixture.spoil(std::move(answer));
    auto got = fixture.get("a");
    BOOST_REQUIRE(!got.has_value());
    return got.error();
  };
  BOOST_TEST(failure(status_answer(409, "AlreadyExists", "x")).already_exists());
  BOOST_TEST(failure(status_answer(409, "Conflict", "x")).conflict());
  BOOST_TEST(!failure(status_answer(409, "Conflict", "x")).already_exists());
  BOOST_TEST(failure(status_answer(410, "Expired", "x")).expired());
  BOOST_TEST(failure(status_answer(401, "Unauthorized", "x")).denied());
  BOOST_TEST(failure({.status = 503, .content_type = "text/plain", .body = "no backend\n"}).transient());
  BOOST_TEST(failure({.status = 503, .content_type = "text/plain", .body = "no backend\n"})
                 .message.ends_with(": 503 no backend"));
  const auto slow = failure({.status = 429, .body = "{}", .headers = {{"Retry-After", "3"}}});
  BOOST_TEST(slow.retry_after_s.value() == 3);
  BOOST_TEST(slow.reason == "TooManyRequests");
  // Who does not say why is taken at the word of the code.
  BOOST_TEST(failure({.status = 409, .body = "{}"}).conflict());
  BOOST_TEST(failure({.status = 502, .body = ""}).reason == "InternalError");
  const auto terse = failure(status_answer(418, "", ""));
  BOOST_TEST(terse.reason == "");
  BOOST_TEST(!terse.message.ends_with(": "), terse.message);
  // A 200 that is no such object is no success, and no answer to count on.
  const auto garbage = failure({.body = "<html>"});
  BOOST_TEST(garbage.unanswered());
  BOOST_TEST((garbage.kind == host::Error::Code::invalid));
  BOOST_TEST((failure({.body = R"({"metadata":7})"}).kind == host::Error::Code::invalid));
  fixture.server.stop();
  const auto away = fixture.get("a");
  BOOST_REQUIRE(!away.has_value());
  BOOST_TEST(away.error().unanswered());
  BOOST_TEST(away.error().transient());
  fixture.server.listen();
  fixture.spoil({.body = FakeApi::object("a", 7, "x")});
  BOOST_TEST(fixture.get("a").has_value());
}

BOOST_AUTO_TEST_CASE(writes_carry_what_they_are_told) {
  Fixture fixture;
  api::ConfigMap map;
  map.metadata.name = "a";
  map.metadata.namespace_ = "shop";
  map.data["v"] = "1";
  fixture.spoil({.status = 201, .body = FakeApi::object("a", 1, "1")});
  BOOST_TEST(fixture
                 .wait<api::ConfigMap>([&](auto done) {
                   return fixture.client->create(map, {.field_manager = "me", .dry_run = true}, std::move(done));
                 })
                 .has_value());
  auto request = fixture.last();
  BOOST_TEST(request.method == "POST");
  BOOST_TEST(request.target == "/api/v1/namespaces/shop/configmaps?fieldManager=me&dryRun=All");
  BOOST_TEST(request.headers.get("content-type") == "application/json");
  BOOST_TEST(api::decode_json<api::ConfigMap>(request.body).value().data.at("v") == "1");

  fixture.spoil({.body = FakeApi::object("a", 2, "1")});
  BOOST_TEST(fixture
                 .wait<api::ConfigMap>(
                     [&](auto done) { return fixture.client->update(map, {.subresource = "status"}, std::move(done)); })
                 .has_value());
  BOOST_TEST(fixture.last().method == "PUT");
  BOOST_TEST(fixture.last().target == "/api/v1/namespaces/shop/configmaps/a/status?fieldManager=keelson");

  fixture.spoil({.body = FakeApi::object("a", 3, "1")});
  BOOST_TEST(fixture
                 .wait<api::ConfigMap>([&](auto done) {
                   return fixture.client->patch<api::ConfigMap>("shop", "a", PatchType::apply, "{}", {.force = true},
                                                                std::move(done));
                 })
                 .has_value());
  BOOST_TEST(fixture.last().method == "PATCH");
  BOOST_TEST(fixture.last().headers.get("content-type") == "application/apply-patch+yaml");
  BOOST_TEST(fixture.last().target.ends_with("?fieldManager=keelson&force=true"));

  fixture.spoil({.body = "{}"});
  BOOST_TEST(fixture
                 .wait<void>([&](auto done) {
                   return fixture.client->remove<api::ConfigMap>("shop", "a", {.grace_period_seconds = 0, .uid = "u-1"},
                                                                 std::move(done));
                 })
                 .has_value());
  BOOST_TEST(fixture.last().method == "DELETE");
  BOOST_TEST(fixture.last().body ==
             R"({"kind":"DeleteOptions","apiVersion":"v1","gracePeriodSeconds":0,"preconditions":{"uid":"u-1"}})");
  fixture.spoil({.body = "{}"});
  BOOST_TEST(fixture
                 .wait<void>([&](auto done) {
                   return fixture.client->remove<api::ConfigMap>("shop", "a", {}, std::move(done));
                 })
                 .has_value());
  BOOST_TEST(fixture.last().body == "");
}

BOOST_AUTO_TEST_CASE(a_list_comes_with_its_page) {
  Fixture fixture;
  fixture.server.run([&] {
    for (const auto* name : {"a", "b", "c"}) fixture.server.put(name, name);
  });
  const auto page = [&](const std::string& continue_) {
    return fixture.wait<ObjectList>([&](auto done) {
      return fixture.client->list(api::resource_of<api::ConfigMap>(), "default",
                                  {.label_selector = "a=b,c in (d)", .limit = 2, .continue_ = continue_},
                                  std::move(done));
    });
  };
  const auto first = page("");
  BOOST_REQUIRE_MESSAGE(first.has_value(), (first ? "" : first.error().message));
  BOOST_TEST(first->items.size() == 2u);
  BOOST_TEST(first->metadata.continue_ == "13/b");
  BOOST_TEST(fixture.last().query.get("labelSelector").value() == "a=b,c in (d)");
  BOOST_TEST(page("13/b").value().items.size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_token_file_is_read_and_must_be_there) {
  char name[] = "/tmp/keelson-token-XXXXXX";
  const int fd = mkstemp(name);
  BOOST_REQUIRE(write(fd, "from-file\n", 10) == 10);
  close(fd);
  {
    Fixture fixture({.token_file = name});
    fixture.spoil({.body = FakeApi::object("a", 7, "x")});
    BOOST_TEST(fixture.get("a").has_value());
    BOOST_TEST(fixture.last().headers.get("authorization") == "Bearer from-file");
  }
  std::filesystem::remove(name);
  keelson::test::LoopThread loop;
  loop.run([&] {
    BOOST_TEST(!Client::create(loop.loop(), {.server = "http://127.0.0.1:1", .token_file = name}).has_value());
    BOOST_TEST(!Client::create(loop.loop(), {.server = "127.0.0.1"}).has_value());
    BOOST_TEST(!Client::create(loop.loop(), {.server = "https://127.0.0.1:1", .tls = {.ca_file = "/nonexistent"}})
                    .has_value());
  });
}

BOOST_AUTO_TEST_CASE(a_client_certificate_is_shown) {
  keelson::test::Pki pki;
  pki.issue("server", "server", "");
  pki.issue("node", "system:node:n1", "system:nodes");
  Fixture fixture(
      {.tls = {.ca_data = pki.text("ca.crt"), .cert_data = pki.text("node.crt"), .key_data = pki.text("node.key")}},
      {.tls = http::TlsFiles{pki.path("server.crt"), pki.path("server.key"), pki.path("ca.crt")}});
  fixture.spoil({.body = FakeApi::object("a", 7, "x")});
  BOOST_TEST(fixture.get("a").has_value());
  BOOST_REQUIRE(fixture.last().certificate.has_value());
  BOOST_TEST(fixture.last().certificate->common_name == "system:node:n1");
}

BOOST_AUTO_TEST_SUITE_END()
