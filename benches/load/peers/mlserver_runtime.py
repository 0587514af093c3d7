"""An MLServer runtime for ONNX models, as its documentation writes custom ones."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse

from model import Model


class OnnxModel(MLModel):
    async def load(self) -> bool:
        self.model = Model(self.settings.parameters.uri)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        batch = NumpyCodec.decode_input(payload.inputs[0]).astype(self.model.dtype)
        named = zip(self.model.outputs, self.model.run(batch))
        outputs = [NumpyCodec.encode_output(name, output) for name, output in named]
        return InferenceResponse(model_name=self.name, outputs=outputs)
