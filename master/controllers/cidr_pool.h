#pragma once
// The pod CIDRs of the nodes: one of each family, cut from the cluster's. Pure; no two
// nodes ever have overlapping ones, whoever gave them out.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "host/ip.h"

namespace keelson::controllers {

class CidrPool {
 public:
  // Invalid: a mask that is shorter than the cluster's prefix or longer than 16 bits beyond it
  // (65,536 nodes); two CIDRs of one family.
  static host::Result<CidrPool> create(std::vector<host::Cidr> cluster, int v4_mask, int v6_mask);

  // What a node has already. Exists: another node has it or a part of it; what lies outside
  // the cluster's CIDRs is none of ours, and fine.
  host::Status occupy(const std::string& node, const std::vector<host::Cidr>& cidrs);
  // One of each family; those that it has when it has some. Unavailable: none is left.
  host::Result<std::vector<host::Cidr>> allocate(const std::string& node);
  void release(const std::string& node);

 private:
  struct Range {
    host::Cidr cluster;
    int mask = 0;
    std::set<uint64_t> taken;  // by number
    uint64_t next = 0;         // where to look first: freed ones are used again late
  };
  explicit CidrPool(std::vector<Range> ranges) : ranges_(std::move(ranges)) {}
  static uint64_t size_of(const Range& range) { return uint64_t{1} << (range.mask - range.cluster.prefix()); }
  static host::Cidr nth(const Range& range, uint64_t number);
  // First and last number that a CIDR overlaps; false when it lies outside.
  static bool numbers(const Range& range, const host::Cidr& cidr, uint64_t& first, uint64_t& last);

  std::vector<Range> ranges_;
  std::map<std::string, std::vector<host::Cidr>> nodes_;
};

}  // namespace keelson::controllers
