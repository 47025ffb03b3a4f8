#pragma once
// Where manifests come from. A source emits its whole set each time it speaks, at
// least once, even when the set is empty; it says nothing while it cannot know.
//
// Loop's thread. Documents are immutable and may be read on any thread.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "host/error.h"

namespace keelson::sources {

// One piece of a source's set as it was found: a file, a body, an etcd value.
struct Document {
  std::string name;  // path, URL or key
  std::string text;
  // Why it could not be read just now (too large, permission, I/O). It is there, so
  // what it last held stays; `text` is empty.
  std::string failure;
};

// Shared between the source, the ledger and the worker that decodes it: a set of ten
// thousand documents that differs in one then costs that one.
using DocumentPtr = std::shared_ptr<const Document>;
using DocumentSet = std::map<std::string, DocumentPtr>;  // by name

// What a source tells. Called on the loop's thread, never inside start().
struct SourceListener {
  // The whole set.
  std::function<void(DocumentSet)> spoke;
  // It could not look. Its last set stands; it tries again by itself.
  std::function<void(const host::Error&)> failed;
};

class ManifestSource {
 public:
  virtual ~ManifestSource() = default;
  // "file", "url", "push", "etcd", "apiserver": Origin.source, --source-policy.
  virtual std::string_view name() const = 0;
  // Once. Destroying the source ends it: the listener is not called again.
  virtual void start(SourceListener listener) = 0;
};

// What a user (or a hostile peer) can make a source hold.
struct Limits {
  size_t document_bytes = 10u << 20;  // as kubelet's limit of a manifest
  size_t source_bytes = 64u << 20;    // all documents of one source
  size_t source_documents = 50'000;
  size_t source_objects = 50'000;
};

}  // namespace keelson::sources
