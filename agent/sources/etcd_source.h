#pragma once
// The pods that a master (or a person with etcdctl) has put under
// /registry/hosts/<node name>/: each key holds a manifest, YAML or JSON. A change acts at
// once; an etcd that is away leaves the last set as it is. Loop's thread.

#include <memory>
#include <string>
#include <vector>

#include "agent/sources/manifest_source.h"
#include "etcd/client.h"
#include "etcd/mirror.h"
#include "host/file.h"
#include "host/loop.h"

namespace keelson::sources {

struct EtcdSettings {
  std::vector<std::string> servers;
  std::string prefix;  // ends with "/", or web1/ would hold the pods of web10/
  host::Path ca_file, cert_file, key_file;
  Limits limits;
};

class EtcdSource : public ManifestSource {
 public:
  // Loads the etcd client; invalid on settings that cannot work.
  static host::Result<std::unique_ptr<EtcdSource>> create(host::Loop& loop, EtcdSettings settings);
  ~EtcdSource() override;
  std::string_view name() const override { return "etcd"; }
  void start(SourceListener listener) override;

 private:
  EtcdSource(host::Loop& loop, EtcdSettings settings, std::unique_ptr<etcd::Client> client);
  void changed(const etcd::Mirror::Content& content);

  // A document, and the revision of the key that it was made from.
  struct Entry {
    int64_t revision = 0;
    DocumentPtr document;
  };

  host::Loop& loop_;
  const EtcdSettings settings_;
  SourceListener listener_;
  std::unique_ptr<etcd::Client> client_;
  std::map<std::string, Entry> entries_;
  std::unique_ptr<etcd::Mirror> mirror_;
};

}  // namespace keelson::sources
