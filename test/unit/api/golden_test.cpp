// One object of each kind with every field filled, as Kubernetes writes it.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>

#include "api/codec.h"
#include "test/unit/api/golden.h"

using namespace keelson;
using namespace keelson::test;

namespace {

template <typename T>
T decode(const std::string& json) {
  auto object = api::decode_json<T>(json);
  BOOST_REQUIRE_MESSAGE(object, object.error().message);
  return *object;
}

template <typename T>
void json_round_trips(const std::string& name) {
  const std::string json = golden_text(name + ".json");
  BOOST_TEST(api::encode_json(decode<T>(json)) == compact(json));
}

template <typename T>
void yaml_equals_json(const std::string& name) {
  const api::Manifest manifest = api::decode_manifest(golden_text(name + ".yaml"));
  for (const auto& problem : manifest.problems) BOOST_ERROR(problem.field + ": " + problem.message);
  BOOST_REQUIRE_EQUAL(manifest.objects.size(), 1);
  BOOST_TEST(manifest.objects[0].warnings.empty());
  BOOST_TEST((std::get<T>(manifest.objects[0].object) == decode<T>(golden_text(name + ".json"))));
}

template <typename T>
void protobuf_round_trips(const std::string& name) {
  const std::string bytes = golden_text(name + ".pb");
  auto object = api::decode_protobuf<T>(bytes);
  BOOST_REQUIRE_MESSAGE(object, object.error().message);
  BOOST_TEST((*object == decode<T>(golden_text(name + ".json"))), name);
  const std::string again = api::encode_protobuf(*object);
  BOOST_TEST((again == bytes), name);
  // Whatever is cut off or flipped, the decoder ends and stays within its bytes.
  for (size_t length = 0; length < bytes.size(); length += 41) api::decode_protobuf<T>(bytes.substr(0, length));
  for (size_t at = 0; at < bytes.size(); at += 23) {
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x55);
    api::decode_protobuf<T>(flipped);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(golden, *boost::unit_test::precondition(golden_objects_are_present))

BOOST_AUTO_TEST_CASE(json_is_decoded_and_encoded_to_the_same_text) {
  json_round_trips<api::Pod>("core.v1.Pod");
  json_round_trips<api::Service>("core.v1.Service");
  json_round_trips<api::Endpoints>("core.v1.Endpoints");
  json_round_trips<api::ConfigMap>("core.v1.ConfigMap");
  json_round_trips<api::Secret>("core.v1.Secret");
  json_round_trips<api::Status>("core.v1.Status");
}

BOOST_AUTO_TEST_CASE(yaml_is_decoded_into_the_same_object) {
  yaml_equals_json<api::Pod>("core.v1.Pod");
  yaml_equals_json<api::Service>("core.v1.Service");
  yaml_equals_json<api::Endpoints>("core.v1.Endpoints");
  yaml_equals_json<api::ConfigMap>("core.v1.ConfigMap");
  yaml_equals_json<api::Secret>("core.v1.Secret");
}

BOOST_AUTO_TEST_CASE(protobuf_is_decoded_into_the_same_object_and_encoded_to_the_same_bytes) {
  protobuf_round_trips<api::Pod>("core.v1.Pod");
  protobuf_round_trips<api::Service>("core.v1.Service");
  protobuf_round_trips<api::Endpoints>("core.v1.Endpoints");
  protobuf_round_trips<api::ConfigMap>("core.v1.ConfigMap");
  protobuf_round_trips<api::Secret>("core.v1.Secret");
  protobuf_round_trips<api::Status>("core.v1.Status");
}

BOOST_AUTO_TEST_CASE(protobuf_of_another_kind_or_none_is_refused) {
  BOOST_TEST(!api::decode_protobuf<api::Pod>(golden_text("core.v1.Service.pb")));
  BOOST_TEST(!api::decode_protobuf<api::Pod>(""));
  BOOST_TEST(!api::decode_protobuf<api::Pod>("{}"));
}

BOOST_AUTO_TEST_CASE(json_becomes_the_yaml_that_kubernetes_prints) {
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    if (entry.path().extension() != ".json") continue;
    const std::string name = entry.path().stem().string();
    auto yaml = api::json_to_yaml(golden_text(name + ".json"));
    BOOST_REQUIRE(yaml);
    BOOST_TEST(*yaml == golden_text(name + ".yaml"), name);
  }
}

BOOST_AUTO_TEST_SUITE_END()
