#pragma once
// Columns as kubectl prints them. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::ctl {

// Rows of cells under headings, left-aligned, three blanks between columns, none at
// the end of a line. An empty cell is shown as <none>.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) : headings_(std::move(headings)) {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  std::string text() const;

 private:
  std::vector<std::string> headings_;
  std::vector<std::vector<std::string>> rows_;
};

// Kubernetes' short ages: "45s", "5m30s", "3h20m", "2d4h", "400d" (apimachinery's
// duration.HumanDuration).
std::string age(int64_t seconds);
// "45.1MB": decimal, as docker's and crictl's lists have it.
std::string size(uint64_t bytes);

}  // namespace keelson::ctl
