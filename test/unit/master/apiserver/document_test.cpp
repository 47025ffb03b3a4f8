#include "master/apiserver/document.h"

#include <boost/test/unit_test.hpp>

using namespace keelson;
using namespace keelson::apiserver;

namespace {

http::Request with(const std::string& name, const std::string& value) {
  http::Request request;
  request.headers.add(name, value);
  return request;
}

}  // namespace

BOOST_AUTO_TEST_CASE(who_has_the_document_is_not_sent_it_again) {
  const Document document = make_document("application/json", "{}");
  BOOST_TEST(document.etag.size() == 66U);
  BOOST_TEST(make_document("application/json", "{ }").etag != document.etag);
  const auto whole = answer_with(document, http::Request(), "Accept");
  BOOST_TEST(whole.status == 200);
  BOOST_TEST(whole.body == "{}");
  BOOST_TEST(whole.headers.get("ETag") == document.etag);
  BOOST_TEST(whole.headers.get("Vary") == "Accept");
  for (const std::string& tag : {document.etag, "W/" + document.etag, "\"x\", " + document.etag, std::string("*")}) {
    const auto answer = answer_with(document, with("If-None-Match", tag));
    BOOST_TEST(answer.status == 304);
    BOOST_TEST(answer.body.empty());
    BOOST_TEST(answer.headers.get("ETag") == document.etag);
  }
  BOOST_TEST(answer_with(document, with("If-None-Match", "\"x\"")).status == 200);
}

BOOST_AUTO_TEST_CASE(accepted_types_stand_in_the_order_in_which_they_are_wanted) {
  using Types = std::vector<std::string>;
  BOOST_TEST((accepted_types(http::Request()) == Types{"*/*"}));
  BOOST_TEST(
      (accepted_types(with("Accept", "a/b;q=0.5, C/D; As=List ,e/f;q=0, g/h")) == Types{"c/d;as=list", "g/h", "a/b"}));
  // As kubectl 1.30 and later ask for discovery.
  BOOST_TEST((accepted_types(with("Accept",
                                  "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
                                  "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,"
                                  "application/json"))
                  .front() == "application/json;g=apidiscovery.k8s.io;v=v2;as=apigroupdiscoverylist"));
}
