#pragma once
// What is said to etcd and what it answers, as plain data (etcd 3.4,
// etcdserverpb/rpc.proto). Any thread.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace keelson::etcd {

struct KeyValue {
  std::string key, value;
  int64_t create_revision = 0, mod_revision = 0;
  int64_t version = 0;
  int64_t lease = 0;
  bool operator==(const KeyValue&) const = default;
};

struct Range {
  std::string key;
  std::string range_end;      // empty: `key` alone; prefix_end(key): everything that starts so
  int64_t limit = 0;          // 0: none
  int64_t revision = 0;       // 0: now
  bool serializable = false;  // from the member's own store: quick, maybe stale
  bool keys_only = false;
  bool count_only = false;
};
struct RangeAnswer {
  int64_t revision = 0;  // of the store, when it answered
  std::vector<KeyValue> kvs;
  bool more = false;
  int64_t count = 0;
};

struct Put {
  std::string key, value;
  int64_t lease = 0;
  bool want_previous = false;
};
struct PutAnswer {
  int64_t revision = 0;
  std::optional<KeyValue> previous;
};

struct Delete {
  std::string key;
  std::string range_end;
  bool want_previous = false;
};
struct DeleteAnswer {
  int64_t revision = 0;
  int64_t deleted = 0;
  std::vector<KeyValue> previous;
};

struct Compare {
  enum class Target { mod_revision, create_revision, version };
  enum class Relation { equal, not_equal, greater, less };
  std::string key;
  Target target = Target::mod_revision;
  Relation relation = Relation::equal;
  int64_t value = 0;  // 0 with `equal`: the key does not exist
};
using Operation = std::variant<Range, Put, Delete>;
struct Txn {
  std::vector<Compare> compares;  // all must hold
  std::vector<Operation> success, failure;
};
using OperationAnswer = std::variant<RangeAnswer, PutAnswer, DeleteAnswer>;
struct TxnAnswer {
  int64_t revision = 0;
  bool succeeded = false;
  std::vector<OperationAnswer> answers;
};

struct Compact {
  int64_t revision = 0;
};
struct CompactAnswer {};

struct LeaseGrant {
  int64_t ttl_seconds = 0;
  int64_t id = 0;  // 0: etcd chooses
};
struct LeaseGrantAnswer {
  int64_t id = 0;
  int64_t ttl_seconds = 0;
};
struct LeaseRevoke {
  int64_t id = 0;
};
struct LeaseRevokeAnswer {};

struct Event {
  enum class Type { put, deleted };
  Type type = Type::put;
  KeyValue kv;  // of a deletion: key and mod_revision
};

// The end of the range of all keys that start with the prefix: the prefix with its last
// byte one higher; "\0" (to the end of all) when there is no such.
inline std::string prefix_end(std::string prefix) {
  while (!prefix.empty()) {
    if (static_cast<unsigned char>(prefix.back()) < 0xff) {
      ++prefix.back();
      return prefix;
    }
    prefix.pop_back();
  }
  return std::string(1, '\0');
}

}  // namespace keelson::etcd
