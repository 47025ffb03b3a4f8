#include "master/controllers/controllers.h"

#include "host/log.h"
#include "master/controllers/cidr_pool.h"
#include "master/controllers/context.h"

namespace keelson::controllers {

struct Controllers::Impl {
  ControllersOptions options;
  std::unique_ptr<apiclient::Client> client;  // before all that uses it
  Informers informers;
  std::vector<std::unique_ptr<Controller>> all;
  host::Gauge& acting;

  ~Impl() { acting.set(0); }
};

Controllers::Controllers(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Controllers::~Controllers() = default;

bool Controllers::running() const { return impl_->informers.synced(); }

bool is_stale(const apiclient::Failure& failure) {
  return failure.not_found() || failure.code == 409 || failure.code == 422;
}

host::Status validate(const ControllersOptions& options) {
  auto pool = CidrPool::create(options.cluster_cidrs, options.node_mask_v4, options.node_mask_v6);
  if (!pool) return std::unexpected(std::move(pool.error()).within("--cluster-cidr"));
  return {};
}

host::Result<std::unique_ptr<Controllers>> Controllers::create(host::Loop& loop, apiclient::Config api,
                                                               ControllersOptions options, host::Metrics& metrics) {
  if (auto valid = validate(options); !valid) return std::unexpected(std::move(valid.error()));
  auto client = apiclient::Client::create(loop, std::move(api), options.connections);
  if (!client) return std::unexpected(std::move(client.error()).within("controllers"));
  auto impl = std::unique_ptr<Impl>(
      new Impl{.options = std::move(options),
               .client = std::move(*client),
               .informers = {},
               .all = {},
               .acting = metrics.gauge("keelson_controllers_acting", "Whether the controllers of this process act.")});
  const Context context{loop, *impl->client, impl->informers, impl->options};
  for (const auto make :
       {make_namespace_deletion, make_node_lifecycle, make_taint_eviction, make_node_cidrs, make_default_accounts,
        make_replication_controllers, make_service_endpoints, make_garbage_collector, make_pod_cleaner}) {
    impl->all.push_back(make(context));
  }
  impl->informers.begin(*impl->client, [impl = impl.get()] {
    impl->acting.set(1);
    host::log_info("controllers: everything is listed, acting");
  });
  return std::unique_ptr<Controllers>(new Controllers(std::move(impl)));
}

}  // namespace keelson::controllers
