package socket

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/warren-mesh/warren/internal/cni"
)

// answerPlugin reads a request of the CNI plugin and answers it: with what the runtime is told, or with an error as the specification has it.
func answerPlugin(w http.ResponseWriter, r *http.Request, command cni.Command, backend Backend) {
	var request cni.Request
	// A configuration may have twice its size in JSON's own escapes.
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 2*cni.MaxSize)).Decode(&request); err != nil {
		refuse(w, types.NewError(types.ErrDecodingFailure, "reading the plugin's request", err.Error()))
		return
	}
	result, err := backend.Pods(r.Context(), command, request)
	if err != nil {
		var e *types.Error
		if !errors.As(err, &e) {
			e = types.NewError(types.ErrInternal, fmt.Sprintf("the agent could not %s", command), err.Error())
		}
		refuse(w, e)
		return
	}
	send(w, http.StatusOK, result)
}

func refuse(w http.ResponseWriter, e *types.Error) {
	text, err := json.Marshal(e)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, http.StatusUnprocessableEntity, text)
}

// send says how long the answer is: the plugin tells by it that the agent lived to its end.
func send(w http.ResponseWriter, status int, text []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // A plugin that is gone asks again.
}
