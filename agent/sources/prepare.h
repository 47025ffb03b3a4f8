#pragma once
// From the text of one document to objects that may be acted on: decode, default,
// validate, hold against the source's policy, give each Pod its identity. Pure and
// the costly part of a merge: safe on any thread.

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/sources/manifest_source.h"
#include "agent/sources/policy.h"
#include "api/object.h"
#include "api/static_pod.h"

namespace keelson::sources {

struct Rules {
  std::string node_name;
  SourcePolicy policy;
  Limits limits;
};

// An object that is defaulted, valid and allowed; a Pod has its uid. Immutable, hence
// shared: between the ledger and the worker that writes the source's set to disk.
struct Accepted {
  api::Object object;
  api::Origin origin;
  bool operator==(const Accepted&) const = default;
};
using AcceptedPtr = std::shared_ptr<const Accepted>;

struct PreparedObject {
  api::ObjectKey key;
  bool allowed = false;  // false: refused; a problem of the document says why
  Accepted accepted;     // when allowed
};

struct Prepared {
  DocumentPtr document;
  // Each key once: the first object of a name in a document stands, the others are problems.
  std::vector<PreparedObject> objects;
  std::vector<api::Problem> problems;
  // Everything in it could be read. Otherwise nothing that it held before may go: what
  // is missing from `objects` may be what could not be read.
  bool whole = true;
};

Prepared prepare(const Rules& rules, std::string_view source, DocumentPtr document);

// kubelet's annotations. config.hash changes exactly when the pod must be replaced: it
// is a digest of node name, source, namespace/name, labels, annotations and the
// defaulted spec, in the shape of a UUID, and it is the uid of a pod that has none. It
// does not cover the document's name: moving a manifest to another file restarts nothing.
// config.seen is when this hash was first seen here; the ledger sets it.
using api::kConfigHash, api::kConfigSeen, api::kConfigSource;

// The source that a prepared Pod came from, by its annotation; "" without one.
std::string source_of(const api::Pod& pod);

// A manifest seldom has a creation time: an object without one has that of the version before it
// (nullptr: none), or `now`. Pods are left alone: one begins anew whenever it is replaced.
void set_created(api::Object& object, const AcceptedPtr& before, api::Time now);

// One line per problem, for the log: "file web.yaml:3: Pod default/web: spec.x: why".
std::string describe(const api::Problem& problem);

}  // namespace keelson::sources
