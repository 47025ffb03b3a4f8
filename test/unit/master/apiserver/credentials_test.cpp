#include "master/apiserver/credentials.h"

#include <boost/test/unit_test.hpp>

using namespace keelson;
using namespace keelson::apiserver;

namespace {

http::Request showing(std::vector<std::string> segments, std::string authorization = {}) {
  http::Request head;
  head.method = "GET";
  head.segments = std::move(segments);
  if (!authorization.empty()) head.headers.add("Authorization", std::move(authorization));
  return head;
}
const std::vector<std::string> kPods = {"api", "v1", "pods"};

}  // namespace

BOOST_AUTO_TEST_CASE(a_certificate_names_the_user_and_its_groups) {
  Credentials credentials;
  auto head = showing(kPods);
  head.certificate = {.common_name = "jane", .organizations = {"dev", "ops"}};
  const auto user = credentials.authenticate(head);
  BOOST_REQUIRE(user);
  BOOST_TEST(user->name == "jane");
  BOOST_TEST((user->groups == std::vector<std::string>{"dev", "ops", "system:authenticated"}));
}

BOOST_AUTO_TEST_CASE(without_credentials_only_what_probes_need_is_open) {
  Credentials credentials;
  BOOST_TEST(!credentials.authenticate(showing(kPods)));
  BOOST_TEST(!credentials.authenticate(showing({})));
  BOOST_TEST(!credentials.authenticate(showing({"metrics"})));
  BOOST_TEST(!credentials.authenticate(showing({"version", "x"})));
  for (const char* open : {"healthz", "livez", "readyz", "version"}) {
    const auto user = credentials.authenticate(showing({open}));
    BOOST_REQUIRE(user);
    BOOST_TEST(user->name == "system:anonymous");
    BOOST_TEST(!user->in_group("system:authenticated"));
  }
  auto post = showing({"healthz"});
  post.method = "POST";
  BOOST_TEST(!credentials.authenticate(post));
  auto nameless = showing(kPods);
  nameless.certificate = {.common_name = "", .organizations = {"system:masters"}};
  BOOST_TEST(!credentials.authenticate(nameless));
}

BOOST_AUTO_TEST_CASE(tokens_of_the_file_are_read_as_kubernetes_reads_them) {
  Credentials credentials;
  const auto read = credentials.read_token_file(
      "# who may come in\n"
      "abc,jane,1,\"dev,ops\"\n"
      "\n"
      "def, joe , 2\r\n"
      "\"g,h\",\"o\"\"neil\",3,one,two\n",
      "tokens.csv");
  BOOST_REQUIRE_MESSAGE(read, read.error().message);
  auto user = credentials.authenticate(showing(kPods, "Bearer abc"));
  BOOST_REQUIRE(user);
  BOOST_TEST(user->name == "jane");
  BOOST_TEST((user->groups == std::vector<std::string>{"dev", "ops", "system:authenticated"}));
  BOOST_TEST(credentials.authenticate(showing(kPods, "bearer  def "))->name == "joe");
  user = credentials.authenticate(showing(kPods, "Bearer g,h"));
  BOOST_REQUIRE(user);
  BOOST_TEST(user->name == "o\"neil");
  BOOST_TEST(user->in_group("two"));
  // A wrong token is not nobody: it is refused, also where nobody would be let in.
  for (const char* wrong : {"Bearer ab", "Bearer abcd", "Bearer", "Bearer ", "Basic abc", "abc"}) {
    BOOST_TEST(!credentials.authenticate(showing(kPods, wrong)), wrong);
    BOOST_TEST(!credentials.authenticate(showing({"healthz"}, wrong)), wrong);
  }
}

BOOST_AUTO_TEST_CASE(a_token_file_that_is_wrong_changes_nothing_and_says_where) {
  Credentials credentials;
  BOOST_REQUIRE(credentials.read_token_file("abc,jane,1\n", "t"));
  for (const auto& [text, where] :
       {std::pair{"x,y,1\nx\n", "t:2: fewer than three fields"}, std::pair{"x,y\n", "t:1: fewer than three fields"},
        std::pair{",y,1\n", "t:1: the token is empty"}, std::pair{"x,,1\n", "t:1: the user is empty"},
        std::pair{"x,y,1,\"a\n", "t:1: a quotation mark is not closed"},
        std::pair{"x,y,1\nx,z,1\n", "t:2: the token has been given before"}}) {
    const auto read = credentials.read_token_file(text, "t");
    BOOST_REQUIRE(!read);
    BOOST_TEST(read.error().message.starts_with(where), read.error().message);
  }
  BOOST_TEST(credentials.authenticate(showing(kPods, "Bearer abc")).has_value());
  BOOST_REQUIRE(credentials.read_token_file("", "t"));
  BOOST_TEST(!credentials.authenticate(showing(kPods, "Bearer abc")));
}

BOOST_AUTO_TEST_CASE(tokens_of_components_are_all_different_and_outlive_the_file) {
  Credentials credentials;
  auto one = credentials.issue_token({.name = "system:kube-scheduler", .groups = {}});
  auto two = credentials.issue_token({.name = "system:kube-controller-manager", .groups = {}});
  BOOST_REQUIRE((one && two));
  BOOST_TEST(one->size() == 64U);
  BOOST_TEST(*one != *two);
  BOOST_REQUIRE(credentials.read_token_file("", "t"));
  BOOST_TEST(credentials.authenticate(showing(kPods, "Bearer " + *one))->name == "system:kube-scheduler");
  BOOST_TEST(credentials.authenticate(showing(kPods, "Bearer " + *two))->name == "system:kube-controller-manager");
}
