#pragma once

#include <string_view>

#include "base/result.h"

namespace postern {

enum class OtlpRequest { metrics, logs };

/// Walks OTLP bytes without building anything, before protobuf does: well-formed, texts are UTF-8,
/// at most kPayloadMessagesMax messages, kPayloadNestingMax deep. `invalid` says what is wrong.
Result<> check_shape(OtlpRequest request, std::string_view raw);

}  // namespace postern
