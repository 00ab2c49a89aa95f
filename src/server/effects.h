#pragma once

#include <string>
#include <vector>

#include "identity/key.h"
#include "model/measurement.h"
#include "store/store.h"
#include "wire/batch.h"

namespace postern {

/// What a batch means for the store (batch.md#B50). `invalid` when the payload cannot be decoded or
/// contradicts its header: the batch is then kept raw and has no effect (rule D11).
Result<store::Effects> effects_of(const wire::BatchView& batch);

/// A JSON object sorted by key, so that equal attributes are equal texts.
std::string json_of(const std::vector<Attribute>& attributes);

}  // namespace postern
