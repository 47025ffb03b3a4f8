// Each namespace has a ServiceAccount "default": Pods that name none run under it.
#include "host/log.h"
#include "master/controllers/agenda.h"
#include "master/controllers/context.h"

namespace keelson::controllers {

namespace {

using apiclient::Outcome;

constexpr const char* kName = "default";

class DefaultAccounts : public Controller {
 public:
  explicit DefaultAccounts(Context context)
      : context_(context), agenda_(context.loop, [this](const std::string& name) { look(name); }) {
    context_.informers.namespaces.listen([this](const auto& old, const auto& now) {
      if (now) {
        agenda_.soon(now->metadata.name);
      } else {
        agenda_.drop(old->metadata.name);
      }
    });
    context_.informers.service_accounts.listen([this](const auto& old, const auto& now) {
      if (!now && old->metadata.name == kName) agenda_.soon(old->metadata.namespace_);
    });
  }

 private:
  void look(const std::string& name) {
    const auto space = context_.informers.namespaces.find({}, name);
    if (!space || space->metadata.deletion_timestamp || context_.informers.service_accounts.find(name, kName)) return;
    api::ServiceAccount account;
    account.metadata.namespace_ = name;
    account.metadata.name = kName;
    context_.client
        .create<api::ServiceAccount>(account, {},
                                     [this, name](Outcome<api::ServiceAccount> outcome) {
                                       if (outcome || !outcome.error().transient()) return agenda_.succeeded(name);
                                       host::log_warning("namespace {}: {}", name, outcome.error().message);
                                       agenda_.after_failure(name);
                                     })
        .detach();
  }

  Context context_;
  Agenda agenda_;
};

}  // namespace

std::unique_ptr<Controller> make_default_accounts(Context context) {
  return std::make_unique<DefaultAccounts>(context);
}

}  // namespace keelson::controllers
