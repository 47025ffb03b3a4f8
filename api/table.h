#pragma once
// What `kubectl get` shows of each kind: meta.k8s.io/v1 Table, in Kubernetes' own
// columns (pkg/printers/internalversion).
//
// Pure functions; the clock is a parameter. Rows are written straight into the
// answer's text: a table of 10,000 rows makes no cell of its own.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "api/resource.h"

namespace keelson::api {

struct Column {
  std::string_view name;
  std::string_view type = "string";  // or "integer"
  std::string_view format = {};      // "name" of the first
  std::string_view description = {};
  int32_t priority = 0;  // 1: in -o wide only
};

std::span<const Column> table_columns(const Resource& resource);

// What comes along with a row's cells (the parameter includeObject).
enum class RowObject : uint8_t { none, metadata, whole };

// {"kind":"Table",…,"columnDefinitions":[…],"rows":[ — the rows, with commas between,
// and "]}" are the caller's. A watch tells its columns in the first event only.
void append_table_head(std::string& out, const Resource& resource, const ListMeta& metadata, bool with_columns);
void append_table_row(std::string& out, const AnyObject& object, RowObject include, Time now);
// With the metadata as it is written already: {"name":…}.
void append_table_row(std::string& out, const AnyObject& object, std::string_view metadata, Time now);

// "5m30s", as kubectl writes ages; "<unknown>" of no time.
std::string age_of(const std::optional<Time>& since, Time now);

}  // namespace keelson::api
