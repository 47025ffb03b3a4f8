#pragma once
// What each controller is handed: the loop, the way to the API server, what is known of the
// cluster. All of it outlives the controllers.

#include <memory>

#include "apiclient/client.h"
#include "apiclient/event_recorder.h"
#include "host/loop.h"
#include "master/controllers/controllers.h"
#include "master/controllers/informers.h"

namespace keelson::controllers {

struct Context {
  host::Loop& loop;
  apiclient::Client& client;
  Informers& informers;
  const ControllersOptions& options;
};

// A controller listens to the informers from its construction on, and acts by itself.
class Controller {
 public:
  virtual ~Controller() = default;
};

std::unique_ptr<Controller> make_replication_controllers(Context context);
std::unique_ptr<Controller> make_service_endpoints(Context context);
std::unique_ptr<Controller> make_node_lifecycle(Context context);
std::unique_ptr<Controller> make_taint_eviction(Context context);
std::unique_ptr<Controller> make_node_cidrs(Context context);
std::unique_ptr<Controller> make_namespace_deletion(Context context);
std::unique_ptr<Controller> make_garbage_collector(Context context);
std::unique_ptr<Controller> make_pod_cleaner(Context context);
std::unique_ptr<Controller> make_default_accounts(Context context);

// A failure that is no news: the object is gone, or was changed by somebody meanwhile.
bool is_stale(const apiclient::Failure& failure);

}  // namespace keelson::controllers
