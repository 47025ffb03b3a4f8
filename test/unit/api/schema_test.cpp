// The tables against Kubernetes' own description of every field.
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "api/resource.h"
#include "api/schema.h"
#include "api/tree.h"

BOOST_AUTO_TEST_SUITE(schema_tests)

using namespace keelson;

namespace {

const std::filesystem::path kFields = std::filesystem::path(KEELSON_SOURCE_DIR) / "../shared/reference/fields.json";

boost::test_tools::assertion_result reference_is_present(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result present(std::filesystem::exists(kFields));
  if (!present) present.message() << kFields << " is absent";
  return present;
}

std::string_view kind_word(const api::Access& access) {
  switch (access.kind) {
    case api::Kind::string:
      return "string";
    case api::Kind::boolean:
      return "bool";
    case api::Kind::int32:
      return "int32";
    case api::Kind::int64:
      return "int64";
    case api::Kind::bytes:
      return "bytes";
    case api::Kind::quantity:
      return "Quantity";
    case api::Kind::time:
      return "Time";
    case api::Kind::micro_time:
      return "MicroTime";
    case api::Kind::int_or_string:
      return "IntOrString";
    case api::Kind::raw_json:
      return "FieldsV1";  // or RawExtension, of WatchEvent alone, which is none of resources()
    case api::Kind::structure:
      return access.type().name;
  }
  return "";
}

// "map<string, .api.resource.Quantity>" → "Quantity".
std::string_view last_word(std::string_view type) {
  if (type.ends_with('>')) type.remove_suffix(1);
  const size_t cut = type.find_last_of(". ");
  return cut == std::string_view::npos ? type : type.substr(cut + 1);
}

bool flag(const api::Value& node, std::string_view key) {
  const api::Value* found = node.find(key);
  return found != nullptr && found->flag;
}

class Reference {
 public:
  explicit Reference(const api::Value& root) : root_(root) {}

  void check(const api::Type& type) {
    const std::string name = std::string(type.package) + "." + std::string(type.name);
    if (!seen_.insert(name).second) return;
    const api::Value* fields = root_.find(name);
    BOOST_REQUIRE_MESSAGE(fields, type.name << " is no type of Kubernetes");
    // "extra" of a user and "attestations" of a token are lists in a map, which nobody here fills.
    const size_t left_out = name == "authentication.v1.UserInfo" || name == "authentication.v1.TokenRequestSpec";
    BOOST_TEST(type.fields.size() + left_out == fields->members.size(), name);
    for (const api::Field& field : type.fields) check(type, field, *fields);
  }

  size_t types() const { return seen_.size(); }

 private:
  void check(const api::Type& type, const api::Field& field, const api::Value& fields) {
    BOOST_TEST_CONTEXT(type.name << "." << field.name) {
      const bool renamed = type.name == "BoundObjectReference" && field.name == "uid";
      const api::Value* expected = fields.find(renamed ? "uID" : field.name);
      BOOST_REQUIRE(expected);
      const api::Access& access = *field.access;
      BOOST_TEST(std::to_string(field.number) == expected->find("no")->text);
      BOOST_TEST(kind_word(access) == last_word(expected->string("type")));
      const bool many = access.shape == api::Shape::list || access.shape == api::Shape::map;
      const std::string_view shape = !many                              ? "one"
                                     : access.shape == api::Shape::list ? std::string_view("list")
                                                                        : std::string_view("map");
      BOOST_TEST(shape == expected->string("is"));
      BOOST_TEST(field.required == flag(*expected, "required"));
      BOOST_TEST(field.merges == expected->string("patchStrategy").starts_with("merge"));
      BOOST_TEST(field.retain_keys == expected->string("patchStrategy").ends_with("retainKeys"));
      BOOST_TEST(field.merge_key == expected->string("patchMergeKey"));
      std::string_view list_type = expected->string("listType");
      if (list_type.empty()) list_type = expected->string("mapType");
      if (list_type.empty()) list_type = expected->string("structType");
      BOOST_TEST(field.list_type == list_type);
      std::string keys;
      if (const api::Value* list = expected->find("listMapKeys")) {
        for (const auto& key : list->members) keys += (keys.empty() ? "" : ",") + std::string(key.value->text);
      }
      BOOST_TEST(field.list_keys == keys);
      // A struct without a JSON name of its own is neither required nor optional.
      const bool embedded =
          !many && access.kind == api::Kind::structure && !flag(*expected, "required") && !flag(*expected, "optional");
      if (field.inlined) BOOST_TEST(embedded);
      if (access.kind == api::Kind::structure) check(access.type());
    }
  }

  const api::Value& root_;
  std::set<std::string> seen_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(tables_agree_with_kubernetes, *boost::unit_test::precondition(reference_is_present)) {
  std::ifstream file(kFields, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  api::Tree tree;
  size_t used = 0;
  auto root = api::read_json(text, tree, 1, used);
  BOOST_REQUIRE(root);
  Reference reference(**root);
  for (const api::Resource& resource : api::resources()) reference.check(resource.type());
  reference.check(api::type_of<api::Status>());
  BOOST_TEST(reference.types() > 220);
}

BOOST_AUTO_TEST_CASE(field_of_an_inlined_struct_is_found_beside_its_siblings) {
  api::Volume volume;
  void* object = &volume;
  const api::Field* field = api::find_field(api::type_of<api::Volume>(), "emptyDir", object);
  BOOST_REQUIRE(field);
  BOOST_TEST(field->at(object) == static_cast<void*>(&volume.source.empty_dir));
  object = &volume;
  BOOST_TEST(!api::find_field(api::type_of<api::Volume>(), "source", object));
}

BOOST_AUTO_TEST_SUITE_END()
