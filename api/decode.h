#pragma once
// From a tree of values to a struct, driven by its Type.

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/schema.h"
#include "api/tree.h"

namespace keelson::api {

// What decode() found, each with its path and line.
struct Remark {
  std::string field;
  int line = 0;
  std::string message;
};

struct Remarks {
  static constexpr size_t kMost = 100;  // of each; the rest is not told

  std::vector<Remark> errors;
  std::vector<Remark> unknown;  // fields that the type does not have
  // A key that repeats: an error, or told in `unknown` with the last one winning, as Kubernetes has it.
  bool last_duplicate_wins = false;
  bool want_lines = false;
  std::vector<std::pair<std::string, int>> lines;  // of every field, when wanted
  size_t budget = kMaxValues;                      // values still to be decoded: aliases count each time
};

// Fills `object`, a struct of that type. With errors the object is worth nothing.
void decode(const Type& type, const Value& node, void* object, Remarks& remarks);

// RFC 4648 base64 with padding; line breaks between are allowed, as Go allows them.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace keelson::api
