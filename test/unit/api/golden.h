#pragma once
// The golden objects of ../shared/reference: one of each kind with every field filled, as Kubernetes writes it.

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "api/tree.h"

namespace keelson::test {

inline const std::filesystem::path kGolden = std::filesystem::path(KEELSON_SOURCE_DIR) / "../shared/reference/golden";

// A precondition: without them there is nothing to compare with.
inline boost::test_tools::assertion_result golden_objects_are_present(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result present(std::filesystem::exists(kGolden));
  if (!present) present.message() << kGolden << " is absent";
  return present;
}

inline std::string golden_text(const std::string& name) {
  std::ifstream file(kGolden / name, std::ios::binary);
  BOOST_REQUIRE_MESSAGE(file, name);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Without the white space between tokens, in the same order.
inline std::string compact(const std::string& json) {
  api::Tree tree;
  size_t used = 0;
  auto root = api::read_json(json, tree, 1, used);
  BOOST_REQUIRE(root);
  std::string out;
  size_t budget = api::kMaxValues;
  api::write_json(**root, out, budget);
  return out;
}

}  // namespace keelson::test
