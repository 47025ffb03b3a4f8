#pragma once
// The Pods that the API server has bound to this node (unless they come by etcd), and the
// ConfigMaps and Secrets that they name. Who watches them is another room (cluster), for what becomes of the Pods is
// written by the same connection; what it hears is handed over here. Loop's thread.

#include "agent/sources/manifest_source.h"

namespace keelson::sources {

class ApiServerSource : public ManifestSource {
 public:
  std::string_view name() const override { return "apiserver"; }
  void start(SourceListener listener) override { listener_ = std::move(listener); }

  // The whole set, as of a complete list; and that there is none to be had just now.
  void spoke(DocumentSet set) { listener_.spoke(std::move(set)); }
  void failed(const host::Error& error) { listener_.failed(error); }

 private:
  SourceListener listener_;
};

}  // namespace keelson::sources
